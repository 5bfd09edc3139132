import { useEffect, useRef } from 'react';
import type { JobState } from 'runcast-client';
import { toast } from 'sonner';
import type { Live } from './live.ts';

/** A toast for each run in progress, which becomes what it ended as, and goes. */
export function useToasts(live: Live, runs: readonly JobState[]): void {
  const shown = useRef(new Set<string>());
  useEffect(() => {
    // On a phone they would cover the page for as long as anything runs.
    if (!matchMedia('(min-width: 640px)').matches) return;
    for (const run of runs) {
      const { runId, name, status } = run;
      if (status !== 'running' || shown.current.has(attemptOf(run))) continue;
      shown.current.add(attemptOf(run));
      toast.loading(`${name ?? runId} is running`, { id: runId, duration: Number.POSITIVE_INFINITY });
    }
  }, [runs]);
  useEffect(
    () =>
      live.onFinish((run) => {
        shown.current.add(attemptOf(run));
        finish(run);
      }),
    [live],
  );
}

/** Each attempt is told of. */
const attemptOf = ({ runId, attempt }: JobState): string => `${runId} ${attempt}`;

function finish({ runId, name, status, duration, errorDetails }: JobState): void {
  const title = name ?? runId;
  const description = [`${status}${duration ? ` after ${duration}` : ''}`, errorDetails]
    .filter(Boolean)
    .join(': ');
  // A toast that was replaced keeps what it had: the loading one would stay for ever.
  const options = { id: runId, description, duration: 6000 };
  if (status === 'passed' || status === 'completed') toast.success(title, options);
  else if (status === 'cancelled' || status === 'skipped') toast.info(title, options);
  else toast.error(title, options);
}
