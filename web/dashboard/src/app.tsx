import { useEffect, useRef, useSyncExternalStore } from 'react';
import { Toaster } from 'sonner';
import { Demo } from './demo.tsx';
import { Finished } from './finished.tsx';
import { Header } from './header.tsx';
import { Latency } from './latency.tsx';
import type { Live } from './live.ts';
import { Notice } from './notice.tsx';
import { Queues } from './queues.tsx';
import { useRoute } from './route.ts';
import { RunPage } from './run-page.tsx';
import { Running } from './running.tsx';
import { useTheme } from './theme.ts';
import { useToasts } from './toasts.ts';

const TOAST_COLORS = {
  '--normal-bg': 'var(--surface)',
  '--normal-border': 'var(--line)',
  '--normal-text': 'var(--text)',
} as React.CSSProperties;

/** The page: an overview, or one run; beside either, how the stream does. */
export function App({ live }: { live: Live }) {
  const snapshot = useSyncExternalStore(live.subscribe, live.snapshot);
  const route = useRoute();
  const theme = useTheme();
  useToasts(live, snapshot.runs);
  const runId = route.page === 'run' ? route.runId : undefined;
  const shown = useRef(runId);
  useEffect(() => {
    document.title = runId ? `${runId} · Runcast` : 'Runcast';
    scrollTo(0, 0);
    // The link that was followed is gone, and the focus with it: it goes on where the new content is.
    if (shown.current !== runId) document.getElementById('main')?.focus({ preventScroll: true });
    shown.current = runId;
  }, [runId]);
  const { local } = live.settings;
  return (
    <>
      <button type="button" className="skip" onClick={() => document.getElementById('main')?.focus()}>
        Skip to the content
      </button>
      <Header snapshot={snapshot} projectId={live.settings.projectId} />
      <Notice snapshot={snapshot} />
      <div className="mx-auto grid max-w-[1240px] gap-x-8 gap-y-9 px-4 pb-20 sm:px-6 lg:grid-cols-[minmax(0,1fr)_320px]">
        <main id="main" tabIndex={-1} className="grid min-w-0 content-start gap-9 outline-none">
          {runId ? (
            <RunPage key={`${runId} ${snapshot.generation}`} runId={runId} live={live} snapshot={snapshot} />
          ) : (
            <>
              <Running snapshot={snapshot} hasScenes={!!local} />
              <Finished snapshot={snapshot} />
            </>
          )}
        </main>
        <aside aria-label="The stream" className="grid min-w-0 content-start gap-9">
          {local && <Demo live={live} servers={local} />}
          <Queues snapshot={snapshot} />
          <Latency points={snapshot.latency} />
        </aside>
      </div>
      <Toaster
        theme={theme}
        position="bottom-left"
        closeButton
        visibleToasts={3}
        duration={6000}
        style={TOAST_COLORS}
      />
    </>
  );
}
