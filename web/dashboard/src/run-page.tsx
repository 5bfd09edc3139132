import { ArrowLeft } from 'lucide-react';
import { memo, type ReactNode, useEffect, useMemo } from 'react';
import { isTerminal, type JobState, type RunSnapshot } from 'runcast-client';
import { useProjectRuns, useRun, useRuncast, type Watched } from 'runcast-client/react';
import { Ago } from './ago.tsx';
import { Announcer } from './announcer.tsx';
import { Artifacts } from './artifacts.tsx';
import { Bar, done } from './bar.tsx';
import { Duration } from './duration.tsx';
import { useDismissal } from './endings.ts';
import { ErrorText } from './error-text.tsx';
import { expectedOf } from './expected.ts';
import { History } from './history.tsx';
import { Attempts, Marks, RanAt } from './life.tsx';
import { Refused } from './notice.tsx';
import { NotifyButton, notify } from './notify.tsx';
import { usePaced } from './paced.ts';
import { Empty, Skeleton } from './panel.tsx';
import { hrefOfProject, hrefOfRun, hrefOfTest, setQuery } from './route.ts';
import { countsOf } from './standing.ts';
import { StatusPill } from './status.tsx';
import { useTabTitle } from './tab-title.ts';
import { TestPanel } from './test-panel.tsx';
import { Tests } from './tests.tsx';
import { Timeline } from './timeline.tsx';

/** From so many tests on, the page is drawn ten times in a second, and not sixty. */
const MANY = 500;
const PACE_MS = 100;

interface RunPageProps {
  runId: string;
  testId: string | undefined;
  query: URLSearchParams;
  projectId: string;
}

/** One run: how it stands, and its tests, what went wrong first. */
export function RunPage({ runId, testId, query, projectId }: RunPageProps) {
  const watched = useRun(runId);
  const { state, error, retry } = watched;
  useReopening(watched, projectId);
  const snapshot = usePaced(state, (state?.tests.size ?? 0) > MANY ? PACE_MS : 0);
  const run = snapshot?.run;
  useEffect(() => {
    if (run) notify(run);
  }, [run]);
  useDismissal(runId);
  useTabTitle(run?.seq ? titleOf(run) : runId, run?.seq ? run.status : undefined);
  return (
    <>
      <section aria-labelledby="run" className="grid min-w-0 grid-cols-1 gap-4">
        <a
          href={hrefOfProject(projectId)}
          className="inline-flex items-center gap-1.5 justify-self-start text-[13px] text-quiet hover:text-text"
        >
          <ArrowLeft size={14} aria-hidden /> All runs
        </a>
        {run && run.seq > 0 ? (
          <Head run={run} projectId={projectId} />
        ) : (
          <h2 id="run" className="min-w-0 text-2xl font-semibold tracking-tight break-words">
            {runId}
          </h2>
        )}
        {error && !run && <Refused error={error} retry={retry} />}
        {!run && !error && <Skeleton rows={1} className="h-40" />}
        {run?.seq === 0 && (
          <Empty>
            <p className="text-base font-medium text-text">Nobody has reported this run yet</p>
            <p className="mt-1">Its first update appears here the moment it comes. Is the id right?</p>
          </Empty>
        )}
      </section>
      {snapshot && snapshot.run.seq > 0 && (
        <>
          <Announcer run={snapshot.run} />
          <Views snapshot={snapshot} testId={testId} query={query} />
        </>
      )}
    </>
  );
}

/** What has ended may be opened again, or told more of: the project's stream, which the page has anyway, says so. */
function useReopening({ state, end, retry }: Watched<RunSnapshot>, projectId: string): void {
  const client = useRuncast();
  const { runId, seq = 0 } = state?.run ?? {};
  const isWatched = !!end && !!projectId;
  useEffect(() => {
    if (!isWatched) return;
    const watch = client.watchProject(
      { projectId, kind: 'job' },
      { onState: (run) => run.runId === runId && run.seq > seq && retry() },
    );
    return () => watch.close();
  }, [isWatched, client, projectId, runId, seq, retry]);
}

/** What a tab has room for: first, how it stands. */
function titleOf(run: JobState): string {
  const { failed } = countsOf(run.tests);
  const name = run.name ?? run.runId;
  if (failed) return `${failed} failed · ${name}`;
  if (isTerminal(run.status) || !run.tests) return name;
  const { waiting, running, total } = run.tests;
  return `${total - waiting - running}/${total} · ${name}`;
}

const Head = memo(function Head({ run, projectId }: { run: JobState; projectId: string }) {
  const expectedMs = useExpected(run, projectId);
  const { status, tests, progress, errorDetails } = run;
  const isOver = isTerminal(status);
  const facts: [string, ReactNode][] = [
    [isOver ? 'Took' : 'Runs for', <Duration key="duration" state={run} expectedMs={expectedMs} />],
    ['Started', run.startedAt && <Ago at={run.startedAt} />],
    ['Ended', run.completedAt && <Ago at={run.completedAt} />],
    ['Run', run.name && <code>{run.runId}</code>],
    ['Job', run.jobId],
    [
      'Repeats',
      run.rerunOf && (
        <a href={hrefOfRun(run.rerunOf)} className="link">
          {run.rerunOf}
        </a>
      ),
    ],
    ['Ran at', run.url && <RanAt url={run.url} />],
  ];
  return (
    <>
      <div className="flex flex-wrap items-center gap-x-4 gap-y-2">
        <h2 id="run" className="min-w-0 text-2xl font-semibold tracking-tight break-words">
          {run.name ?? run.runId}
        </h2>
        <StatusPill status={status} />
        {!isOver && <NotifyButton run={run} />}
      </div>
      <div className={`card grid grid-cols-1 gap-4 p-4 ${run.stale ? 'stale' : ''}`}>
        <dl className="flex flex-wrap gap-x-8 gap-y-2.5 text-sm">
          {facts.map(
            ([name, value]) =>
              value && (
                <div key={name} className="max-w-full min-w-0">
                  <dt className="text-xs text-quiet">{name}</dt>
                  <dd className="min-w-0 break-words">{value}</dd>
                </div>
              ),
          )}
        </dl>
        <div className="flex flex-wrap items-center gap-1.5 text-xs empty:hidden">
          <Marks state={run} />
        </div>
        {run.stale && !isOver && (
          <p className="text-[13px] text-quiet">
            Its producer has been silent for longer than it said it would be: what stands here may no longer
            be true.
            {run.deadlineAt && ' It is given up if nothing is heard of it.'}
          </p>
        )}
        <div className="grid gap-2">
          <Bar run={run} isLarge />
          <p className="flex flex-wrap justify-between gap-x-4 text-[13px] text-quiet">
            <span>{tests && summaryOf(tests.total, countsOf(tests))}</span>
            {!isOver && progress && (
              <span>{[done(progress), progress.message].filter(Boolean).join(' · ')}</span>
            )}
          </p>
        </div>
        {errorDetails && <ErrorText text={errorDetails} />}
        <Attempts state={run} />
      </div>
    </>
  );
});

/** Counts that add up to what stands first. */
function summaryOf(total: number, counts: ReturnType<typeof countsOf>): string {
  const parts = Object.entries(counts).filter(([, count]) => count);
  const tests = `${total.toLocaleString('en')} ${total === 1 ? 'test' : 'tests'}`;
  return `${tests}: ${parts.map(([standing, count]) => `${count.toLocaleString('en')} ${standing}`).join(', ')}`;
}

/** How long earlier runs of the same job took, while that is of interest. */
function useExpected(run: JobState, projectId: string): number | undefined {
  const isOver = isTerminal(run.status);
  const { runs } = useProjectRuns(isOver || !run.name ? undefined : projectId || undefined, {
    search: run.name?.slice(0, 50) ?? '',
    limit: 20,
  });
  return useMemo(() => expectedOf(runs)(run), [runs, run]);
}

const VIEWS = [
  { value: '', word: 'Tests' },
  { value: 'timeline', word: 'Timeline' },
  { value: 'history', word: 'History' },
  { value: 'artifacts', word: 'Artifacts' },
];

const Views = memo(function Views({
  snapshot,
  testId,
  query,
}: {
  snapshot: RunSnapshot;
  testId: string | undefined;
  query: URLSearchParams;
}) {
  const { run, tests } = snapshot;
  const artifacts = run.artifactPaths ?? [];
  const counts: Record<string, number | undefined> = {
    '': run.tests?.total,
    artifacts: artifacts.length,
  };
  const views = VIEWS.filter(({ value }) => value !== 'artifacts' || artifacts.length);
  const view = views.find(({ value }) => value === query.get('view'))?.value ?? '';
  return (
    <div className="grid min-w-0 grid-cols-1 gap-4">
      <nav aria-label="Views of the run" className="flex gap-5 border-b border-line text-sm">
        {views.map(({ value, word }) => (
          <a
            key={value}
            href={viewHref(run.runId, query, value)}
            aria-current={value === view ? 'page' : undefined}
            onClick={(event) => {
              if (testId || event.ctrlKey || event.metaKey) return;
              event.preventDefault();
              setQuery({ view: value });
            }}
            className="-mb-px border-b-2 border-transparent py-2 font-medium text-quiet hover:text-text aria-[current=page]:border-accent aria-[current=page]:text-text"
          >
            {word}
            {counts[value] !== undefined && (
              <span className="ml-1.5 font-normal text-quiet">{counts[value].toLocaleString('en')}</span>
            )}
          </a>
        ))}
      </nav>
      <div className={testId ? 'beside' : 'grid min-w-0 grid-cols-1'}>
        <div className="min-w-0">
          {view === '' && <Tests snapshot={snapshot} query={query} testId={testId} />}
          {(view === 'artifacts' || (view === '' && !run.tests)) && artifacts.length > 0 && (
            <div className="mt-4 first:mt-0">
              <Artifacts paths={artifacts} />
            </div>
          )}
          {view === 'timeline' && <Timeline snapshot={snapshot} query={query} />}
          {view === 'history' && <History run={run} tests={tests} query={query} />}
        </div>
        {testId && <TestPanel key={testId} testId={testId} snapshot={snapshot} query={query} />}
      </div>
    </div>
  );
});

function viewHref(runId: string, query: URLSearchParams, view: string): string {
  const changed = new URLSearchParams(query);
  if (view) changed.set('view', view);
  else changed.delete('view');
  return hrefOfTest(runId, undefined, changed);
}
