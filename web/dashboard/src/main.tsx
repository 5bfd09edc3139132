import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './app.tsx';
import { Session } from './session.ts';
import { loadSettings } from './settings.ts';
import './style.css';
import { restoreTheme } from './theme.ts';

restoreTheme();
const root = createRoot(document.querySelector('#root') as HTMLElement);
loadSettings().then(
  (settings) => {
    root.render(
      <StrictMode>
        <App session={new Session(settings)} />
      </StrictMode>,
    );
  },
  (error: Error) => {
    root.render(
      <main className="mx-auto max-w-xl p-8" role="alert">
        <h1 className="mb-2 text-lg font-semibold">The dashboard cannot start</h1>
        <p>
          It reads <code>config.json</code> beside its page first, and that failed: {error.message}. Reload
          when it is there.
        </p>
      </main>,
    );
  },
);
