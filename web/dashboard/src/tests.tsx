import { useMemo } from 'react';
import type { JobState, TestState } from 'runcast-client';
import { Duration } from './duration.tsx';
import { Empty, Panel } from './panel.tsx';
import { StatusLabel } from './status.tsx';

/** The tests of a run, as far as this page has seen them. */
export function Tests({ run, tests }: { run: JobState; tests: readonly TestState[] }) {
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
