import { Indicator, Root } from '@radix-ui/react-progress';
import type { JobState, Progress, TestCounts } from 'runcast-client';
import { Counts, STATUSES } from './status.tsx';

/** How far a run is: in words, as a bar, and by its tests. */
export function RunProgress({ run }: { run: JobState }) {
  const { progress, tests } = run;
  if (!progress && !tests) return null;
  return (
    <div className="grid gap-2">
      <p className="flex justify-between gap-3 text-[13px]">
        <span className="truncate">{progress?.message ?? 'Progress'}</span>
        {progress && <span className="whitespace-nowrap text-quiet">{done(progress)}</span>}
      </p>
      <ProgressBar run={run} />
      <Counts tests={tests} />
    </div>
  );
}

/** How much is done, in words. */
export function done({ completed, total }: Progress): string {
  return total == null ? `${completed} done` : `${completed} of ${total}`;
}

/** Each of its tests by its status, or as much as is completed. */
function ProgressBar({ run }: { run: JobState }) {
  const { progress, tests } = run;
  const share = shareOf(progress, tests);
  if (share === null) return null;
  const percent = Math.round(share * 100);
  const segments = tests ? STATUSES.filter((status) => status !== 'waiting' && tests[status]) : [];
  return (
    <Root
      value={percent}
      aria-label={`Progress of ${run.runId}`}
      className="flex h-1.5 gap-0.5 overflow-hidden rounded-full bg-track"
    >
      {tests && segments.length ? (
        segments.map((status) => (
          <span
            key={status}
            data-status={status}
            className="segment h-full"
            style={{ width: `${(100 * tests[status]) / tests.total}%` }}
          />
        ))
      ) : (
        <Indicator className="segment h-full" data-status={run.status} style={{ width: `${percent}%` }} />
      )}
    </Root>
  );
}

/** Between 0 and 1; `null` where nobody knows. */
function shareOf(progress: Progress | null, tests: TestCounts | null): number | null {
  if (progress?.total) return Math.min(1, progress.completed / progress.total);
  if (tests?.total) return (tests.total - tests.waiting - tests.running) / tests.total;
  return null;
}
