import { isTerminal, type JobState } from 'runcast-client';

/** How many earlier runs are looked at. */
const LOOKED_AT = 7;

/** What runs have in common that are the same job's. */
const jobOf = ({ jobId, name }: JobState): string | null => jobId ?? name;

/** How long each job takes, in milliseconds: the median of its last runs that were not stopped. */
export function expectedOf(runs: readonly JobState[]): (run: JobState) => number | undefined {
  const took = new Map<string, number[]>();
  for (const run of runs) {
    const job = jobOf(run);
    if (!job || !isTerminal(run.status) || run.durationMs === null) continue;
    if (run.status === 'cancelled' || run.status === 'error' || run.status === 'skipped') continue;
    const all = took.get(job) ?? [];
    if (all.length < LOOKED_AT) took.set(job, [...all, run.durationMs]);
  }
  return (run) => {
    const all = took.get(jobOf(run) ?? '')?.toSorted((one, other) => one - other);
    return all?.[Math.floor(all.length / 2)];
  };
}
