// A server component, as layouts are: it may import the provider, and gives it what can be sent to a browser.

import { RuncastProvider } from 'runcast-client/react';

// Where the stack is, is known when a page is asked for, not when it is built.
export const dynamic = 'force-dynamic';

export default function Layout({ children }) {
  return (
    <html lang="en">
      <body>
        <RuncastProvider url={process.env.RUNCAST_URL} token={process.env.RUNCAST_TOKEN}>
          {children}
        </RuncastProvider>
      </body>
    </html>
  );
}
