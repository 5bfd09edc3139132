export { RuncastProvider, type RuncastProviderProps, useRuncast } from './context.ts';
export { type RunEvents, useRunHistory } from './history.ts';
export {
  type MaybeId,
  useConnection,
  useJobRun,
  useJobRuns,
  useQueueStats,
  useRun,
  useTestStatus,
} from './hooks.ts';
export { JobProvider, type JobProviderProps, type Jobs, useJobs } from './jobs.ts';
export {
  type ProjectRuns,
  type ProjectRunsOptions,
  type ProjectTests,
  useProjectRuns,
  useProjectTests,
} from './project.ts';
export type { Watched, WatchedOptions } from './store.ts';
