import { Indicator, Root } from '@radix-ui/react-progress';
import type { JobState, Progress, TestCounts } from 'runcast-client';
import { STATUSES } from './status.tsx';

/** How far a run is: each of its tests by its status, or as much as is completed. */
export function ProgressBar({ run }: { run: JobState }) {
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
  if (progress?.total) return Math.min(1, (progress.completed ?? 0) / progress.total);
  if (tests?.total) return (tests.total - tests.waiting - tests.running) / tests.total;
  return null;
}
