export { createClient } from './client.ts';
export { RuncastError } from './error.ts';
export { listRuns, readRun, readRunHistory, readTestArtifact } from './read.ts';
export { watchRun } from './run.ts';
export type {
  Artifact,
  Attempt,
  EndReason,
  JobState,
  Kind,
  Labels,
  Problem,
  Progress,
  QueueCounts,
  QueueStats,
  RunHistory,
  RunsPage,
  Shards,
  Status,
  TerminalStatus,
  TestCounts,
  TestState,
} from './schema.ts';
export { isTerminal } from './status.ts';
export type * from './types.ts';
