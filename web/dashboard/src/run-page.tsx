import { ArrowLeft } from 'lucide-react';
import { useEffect, useMemo, useState } from 'react';
import { isTerminal, type JobState, type RuncastError, type TestState } from 'runcast-client';
import { Duration } from './duration.tsx';
import type { Live, Snapshot } from './live.ts';
import { Empty, Panel, Skeleton } from './panel.tsx';
import { ProgressBar } from './progress.tsx';
import { done } from './running.tsx';
import { Counts, StatusIcon, StatusLabel } from './status.tsx';
import { clock } from './time.ts';
import { describe } from './timeline.ts';

/** One run: how it stands, its tests, and every event of it. */
export function RunPage({ runId, live, snapshot }: { runId: string; live: Live; snapshot: Snapshot }) {
  const { events, error } = useHistory(live, runId);
  const run = events.at(-1);
  return (
    <>
      <section aria-labelledby="run" className="grid gap-4">
        <a
          href="#/"
          className="inline-flex items-center gap-1.5 justify-self-start text-[13px] text-quiet hover:text-text"
        >
          <ArrowLeft size={14} aria-hidden /> All runs
        </a>
        <div className="flex flex-wrap items-baseline gap-x-4 gap-y-1">
          <h2 id="run" className="min-w-0 text-2xl font-semibold tracking-tight break-words">
            {runId}
          </h2>
          {run && <StatusLabel status={run.status} />}
          {run && <Duration state={run} />}
        </div>
        {run && run.seq > 0 && <Facts run={run} />}
        {error && (
          <Empty>
            <p role="alert">{error.message}</p>
            <p className="mt-1">Look whether the id is right, and whether your token covers its project.</p>
          </Empty>
        )}
        {!run && !error && <Skeleton rows={1} />}
        {run?.seq === 0 && (
          <Empty>Nobody has reported this run yet. Its first update appears here the moment it comes.</Empty>
        )}
      </section>
      {run && run.seq > 0 && (
        <div className="grid gap-x-6 gap-y-9 md:grid-cols-2">
          <Tests run={run} tests={snapshot.tests} />
          <Timeline events={events} />
        </div>
      )}
    </>
  );
}

/** Every event of a run, from the first that the log still has. */
function useHistory(live: Live, runId: string) {
  const [events, setEvents] = useState<readonly JobState[]>([]);
  const [error, setError] = useState<RuncastError>();
  useEffect(() => {
    // A burst is drawn once.
    let burst: JobState[] = [];
    const show = () => {
      const news = burst;
      burst = [];
      setEvents((before) => [...before, ...news]);
    };
    const onState = (state: JobState) => {
      if (!burst.length) queueMicrotask(show);
      burst.push(state);
    };
    const watch = live.watchHistory(runId, onState, setError);
    return () => {
      watch.close();
      burst = [];
      setEvents([]);
    };
  }, [live, runId]);
  return { events, error };
}

function Facts({ run }: { run: JobState }) {
  const facts = [
    ['Job', run.jobId],
    ['Started', clock(run.startedAt, true)],
    ['Ended', clock(run.completedAt, true)],
    ['Artifacts', run.artifactPaths?.join(', ')],
  ].filter(([, value]) => value);
  return (
    <div className="card grid gap-4 p-4">
      <dl className="flex flex-wrap gap-x-8 gap-y-2 text-sm">
        {facts.map(([name, value]) => (
          <div key={name} className="min-w-0">
            <dt className="text-xs text-quiet">{name}</dt>
            <dd className="break-words">{value}</dd>
          </div>
        ))}
      </dl>
      {(run.progress || run.tests) && (
        <div className="grid gap-2">
          <p className="flex justify-between gap-3 text-[13px]">
            <span className="truncate">{run.progress?.message ?? 'Progress'}</span>
            {run.progress && <span className="whitespace-nowrap text-quiet">{done(run)}</span>}
          </p>
          <ProgressBar run={run} />
          <Counts tests={run.tests} />
        </div>
      )}
      {run.errorDetails && (
        <p className="hue-border rounded-lg border px-3 py-2 text-sm break-words" data-status={run.status}>
          {run.errorDetails}
        </p>
      )}
    </div>
  );
}

function Tests({ run, tests }: { run: JobState; tests: readonly TestState[] }) {
  const { shown, isByName } = useMemo(() => testsOf(run, tests), [run, tests]);
  const total = run.tests?.total ?? 0;
  return (
    <Panel title="Tests" count={isByName ? total : undefined}>
      {shown.length ? (
        <>
          <ul
            id="tests"
            className="card scroller divide-y divide-line"
            // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and a keyboard has to reach it
            tabIndex={0}
            aria-label="Tests of the run"
          >
            {shown.map((test) => (
              <li
                key={test.testId}
                className="grid grid-cols-[minmax(0,1fr)_auto_auto] items-baseline gap-x-3 px-4 py-2.5"
              >
                <span className="truncate text-sm font-medium" title={test.testId}>
                  {isByName ? test.testId.slice(run.runId.length + 1) : test.testId}
                </span>
                <Duration state={test} />
                <StatusLabel status={test.status} />
                {test.error && (
                  <span className="col-span-full text-[13px] break-words text-quiet">{test.error}</span>
                )}
              </li>
            ))}
          </ul>
          <p className="mt-2 text-xs text-quiet">{caption(isByName, shown.length, total)}</p>
        </>
      ) : (
        <Empty>
          {total
            ? `Its ${total} tests ended before this page began to watch: the counts above are complete, a list is not kept.`
            : 'No test names this run.'}
        </Empty>
      )}
    </Panel>
  );
}

/**
 * A test's state does not name its run. Those called after the run (`<runId>-…`) are taken for its own; where there are
 * none, the project's tests of the same time are shown, and said to be just that.
 */
function testsOf(run: JobState, tests: readonly TestState[]): { shown: TestState[]; isByName: boolean } {
  const named = tests.filter((test) => test.testId.startsWith(`${run.runId}-`));
  if (named.length) return { shown: named.sort(byStanding), isByName: true };
  if (!run.tests?.total) return { shown: [], isByName: false };
  const [from, to] = [run.startedAt ?? '', run.completedAt ?? '9'];
  const meanwhile = tests.filter(
    ({ startedAt, completedAt }) => (startedAt ?? to) <= to && (completedAt ?? '9') >= from,
  );
  return { shown: meanwhile.sort(byStanding), isByName: false };
}

/** What runs first, then what went wrong, what waits, and the rest. */
const STANDING = ['running', 'failed', 'error', 'waiting', 'cancelled', 'completed', 'passed'];
const byStanding = (a: TestState, b: TestState): number =>
  STANDING.indexOf(a.status) - STANDING.indexOf(b.status) ||
  (b.startedAt ?? '').localeCompare(a.startedAt ?? '');

function caption(isByName: boolean, shown: number, total: number): string {
  if (!isByName) return `The project’s tests of the same time; ${total} of them are this run’s.`;
  return shown < total ? `${shown} of ${total}: those that this page has seen.` : '';
}

function Timeline({ events }: { events: readonly JobState[] }) {
  return (
    <Panel title="Timeline" count={events.length}>
      <ol
        id="timeline"
        className="card scroller px-4 py-3"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and a keyboard has to reach it
        tabIndex={0}
        aria-label="Events, the last one first"
        reversed
      >
        {[...events].reverse().map((event, index) => {
          const before = events[events.length - 2 - index];
          const isTurn = event.status !== before?.status;
          return (
            <li
              key={event.seq}
              className="event relative grid grid-cols-[auto_minmax(0,1fr)_auto] gap-x-3 pb-3 last:pb-0"
            >
              <span className="z-[1] grid size-5 place-items-center">
                {isTurn || isTerminal(event.status) ? (
                  <span className="bg-surface py-0.5">
                    <StatusIcon status={event.status} />
                  </span>
                ) : (
                  <span className="size-1.5 rounded-full bg-quiet" />
                )}
              </span>
              <span
                className={`min-w-0 text-[13px] leading-5 break-words ${isTurn ? 'font-medium' : 'text-quiet'}`}
              >
                {describe(event, before)}
              </span>
              <time
                className="text-xs leading-5 text-quiet"
                dateTime={event.occurredAt ?? ''}
                title={`seq ${event.seq}`}
              >
                {clock(event.occurredAt, true)}
              </time>
            </li>
          );
        })}
      </ol>
    </Panel>
  );
}
