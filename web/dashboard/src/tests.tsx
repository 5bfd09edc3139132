import { useMemo } from 'react';
import { isTerminal, type JobState, type TestState } from 'runcast-client';
import { Duration } from './duration.tsx';
import { Attempts, Marks, RanAt } from './life.tsx';
import { Empty, Panel } from './panel.tsx';
import { StatusLabel } from './status.tsx';

/** The tests of a run, as far as this page has seen them. */
export function Tests({ run, tests }: { run: JobState; tests: readonly TestState[] }) {
  const { shown, isOwn } = useMemo(() => testsOf(run, tests), [run, tests]);
  const total = run.tests?.total ?? 0;
  return (
    <Panel title="Tests" count={isOwn ? total : undefined}>
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
              <Test key={test.testId} test={test} runId={run.runId} />
            ))}
          </ul>
          <p className="mt-2 text-xs text-quiet">{caption(isOwn, shown.length, total)}</p>
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

function Test({ test, runId }: { test: TestState; runId: string }) {
  const at = [test.suite, test.file && [test.file, test.line].filter(Boolean).join(':')].filter(Boolean);
  return (
    <li
      className={`grid grid-cols-[minmax(0,1fr)_auto_auto] items-baseline gap-x-3 px-4 py-2.5 ${test.stale ? 'stale' : ''}`}
    >
      <span
        className="truncate text-sm font-medium"
        title={test.name ? `${test.name} (${test.testId})` : test.testId}
      >
        {test.name ?? shortened(test.testId, runId)}
      </span>
      <Duration state={test} />
      <StatusLabel status={test.status} />
      <div className="col-span-full grid gap-1 empty:hidden">
        {at.length > 0 && <span className="text-[13px] break-words text-quiet">{at.join(' · ')}</span>}
        {test.error && <span className="text-[13px] break-words text-quiet">{test.error}</span>}
        <Marks state={test} />
        <Attempts state={test} />
        {test.url && (
          <span className="flex min-w-0 text-[13px]">
            <RanAt url={test.url} />
          </span>
        )}
      </div>
    </li>
  );
}

/** Without the run's id, where it is named after it. */
const shortened = (testId: string, runId: string): string =>
  /^[-_]./.test(testId.slice(runId.length)) && testId.startsWith(runId)
    ? testId.slice(runId.length + 1)
    : testId;

/**
 * Those that name the run, as servers since 0.2 tell, or are called after it (`<runId>-…`); where there are none, the
 * project's tests of the same time are shown, and said to be just that.
 */
function testsOf(run: JobState, tests: readonly TestState[]): { shown: TestState[]; isOwn: boolean } {
  const namesIt = ({ runId, testId }: TestState) =>
    runId ? runId === run.runId : testId.startsWith(`${run.runId}-`);
  const named = tests.filter(namesIt);
  if (named.length) return { shown: named.sort(byStanding), isOwn: true };
  if (!run.tests?.total) return { shown: [], isOwn: false };
  const [from, to] = [run.startedAt ?? '', run.completedAt ?? '9'];
  const meanwhile = tests.filter(
    ({ startedAt, completedAt }) => (startedAt ?? to) <= to && (completedAt ?? '9') >= from,
  );
  return { shown: meanwhile.sort(byStanding), isOwn: false };
}

/** What runs first, then what went wrong, what waits, and the rest. */
const STANDING = [
  'running',
  'failed',
  'error',
  'flaky',
  'waiting',
  'cancelled',
  'skipped',
  'completed',
  'passed',
];
const standing = ({ status, flaky }: TestState): number =>
  STANDING.indexOf(flaky && isTerminal(status) ? 'flaky' : status);
const byStanding = (a: TestState, b: TestState): number =>
  standing(a) - standing(b) || (b.startedAt ?? '').localeCompare(a.startedAt ?? '');

function caption(isOwn: boolean, shown: number, total: number): string {
  if (!isOwn) return `The project’s tests of the same time; ${total} of them are this run’s.`;
  return shown < total ? `${shown} of ${total}: those that this page has seen.` : '';
}
