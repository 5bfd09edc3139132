export { RuncastProvider, type RuncastProviderProps, useRuncast } from './context.ts';
export { useConnection, useJobRun, useJobRuns, useQueueStats, useTestStatus } from './hooks.ts';
export { JobProvider, type JobProviderProps, type Jobs, useJobs } from './jobs.ts';
export type { Watched } from './store.ts';
