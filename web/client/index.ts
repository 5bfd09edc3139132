export { createClient } from './client.ts';
export { RuncastError } from './error.ts';
export type {
  EndReason,
  JobState,
  Kind,
  Problem,
  Progress,
  QueueCounts,
  QueueStats,
  Status,
  TestCounts,
  TestState,
} from './schema.ts';
export { isTerminal } from './status.ts';
export type * from './types.ts';
