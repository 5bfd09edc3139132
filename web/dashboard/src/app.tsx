import { lazy, Suspense, useEffect, useRef } from 'react';
import { JobProvider, RuncastProvider } from 'runcast-client/react';
import { Toaster } from 'sonner';
import { FaultNotice } from './demo.tsx';
import { useEndings } from './endings.ts';
import { Header } from './header.tsx';
import { Notice } from './notice.tsx';
import { Skeleton } from './panel.tsx';
import { useProjectId } from './project-id.ts';
import { ProjectPage } from './project-page.tsx';
import { type Place, usePlace } from './route.ts';
import { RunPage } from './run-page.tsx';
import { type Session, SessionProvider } from './session.ts';
import { useTabTitle } from './tab-title.ts';
import { useTheme } from './theme.ts';

// Who opens a run from a failed build does not need it.
const QueuesPage = lazy(() => import('./queues-page.tsx'));

const TOAST_COLORS = {
  '--normal-bg': 'var(--surface)',
  '--normal-border': 'var(--line)',
  '--normal-text': 'var(--text)',
} as React.CSSProperties;

export function App({ session }: { session: Session }) {
  return (
    <SessionProvider value={session}>
      <RuncastProvider client={session.client}>
        <Frame session={session} />
      </RuncastProvider>
    </SessionProvider>
  );
}

/** What stands on each page, and the page. */
function Frame({ session: { settings } }: { session: Session }) {
  const place = usePlace();
  const { route } = place;
  const projectId = useProjectId(route, settings);
  const theme = useTheme();
  const onComplete = useEndings();
  useFocus(route.page, route.page === 'run' ? route.runId : undefined);
  const page = <Page place={place} projectId={projectId} />;
  return (
    <>
      <button type="button" className="skip" onClick={() => document.getElementById('main')?.focus()}>
        Skip to the content
      </button>
      <Header route={route} projectId={projectId} />
      <Notice />
      {settings.local && <FaultNotice />}
      <main
        id="main"
        tabIndex={-1}
        className="mx-auto grid max-w-[1240px] grid-cols-1 content-start gap-5 px-4 pt-5 pb-24 outline-none sm:px-6"
      >
        {projectId ? (
          <JobProvider projectId={projectId} onComplete={onComplete}>
            {page}
          </JobProvider>
        ) : (
          page
        )}
      </main>
      <Toaster
        theme={theme}
        position="bottom-left"
        closeButton
        visibleToasts={3}
        style={TOAST_COLORS}
        containerAriaLabel="Runs that have ended"
      />
    </>
  );
}

function Page({ place: { route, query }, projectId }: { place: Place; projectId: string }) {
  switch (route.page) {
    case 'project':
      return <ProjectPage projectId={projectId} query={query} />;
    case 'run':
      return (
        <RunPage
          key={route.runId}
          runId={route.runId}
          testId={route.testId}
          query={query}
          projectId={projectId}
        />
      );
    case 'queues':
      return (
        <Suspense fallback={<Skeleton rows={2} className="h-40" />}>
          <QueuesPage queue={route.queue} />
        </Suspense>
      );
    case 'nowhere':
      return <Nowhere />;
  }
}

function Nowhere() {
  useTabTitle('No such page');
  return (
    <div className="empty">
      <h2 className="text-base font-medium text-text">There is no such page</h2>
      <p className="mt-1">
        <code>{location.hash.slice(0, 200)}</code> leads nowhere: it may be cut off, or a run’s id holds
        something else than <code>A-Z a-z 0-9 _ -</code>.
      </p>
      <a href="#/" className="button mt-4">
        To the runs
      </a>
    </div>
  );
}

/** The link that was followed is gone, and the focus with it: it goes on where the new content is. */
function useFocus(page: string, runId: string | undefined): void {
  const shown = useRef(`${page} ${runId}`);
  useEffect(() => {
    const now = `${page} ${runId}`;
    if (shown.current === now) return;
    shown.current = now;
    scrollTo(0, 0);
    document.getElementById('main')?.focus({ preventScroll: true });
  }, [page, runId]);
}
