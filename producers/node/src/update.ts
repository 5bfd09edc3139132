/** The statuses of the contract; producers' other words for them are taken, too. */
export type Status =
  | 'waiting'
  | 'running'
  | 'completed'
  | 'passed'
  | 'failed'
  | 'error'
  | 'cancelled'
  | 'skipped';

/** What a producer says of an execution; docs/events.md of Runcast has every field. */
export interface Update {
  /** The same one twice, for one execution, is one event. One is made where it is absent. */
  eventId?: string | undefined;
  kind: 'test' | 'job';
  /** 1 to 128 of `A-Z a-z 0-9 _ -`. */
  id: string;
  projectId?: string | undefined;
  status?: Status | undefined;
  /** Instead of a status: that it lives. */
  alive?: true | undefined;
  /** Milliseconds since 1970, as all times are; now, where absent. */
  occurredAt?: number | undefined;
  startedAt?: number | undefined;
  completedAt?: number | undefined;
  durationMs?: number | undefined;
  /** Which try it is, from 1. */
  attempt?: number | undefined;
  /** Beside a terminal status: another attempt follows. */
  willRetry?: true | undefined;
  /** For how long it may be silent, in seconds. */
  timeoutSeconds?: number | undefined;
  name?: string | undefined;
  url?: string | undefined;
  labels?: Record<string, string> | undefined;
  progress?: { completed: number; total?: number; message?: string } | undefined;
  /** A test's: the run that it is part of, where it stands, and what went wrong. */
  runId?: string | undefined;
  suite?: string | undefined;
  file?: string | undefined;
  line?: number | undefined;
  reportPath?: string | undefined;
  error?: string | undefined;
  /** A run's. */
  jobId?: string | undefined;
  errorDetails?: string | undefined;
  artifactPaths?: string[] | undefined;
  rerunOf?: string | undefined;
  shard?: Shard | undefined;
}

/** Which part of a run this is, from 1, and of how many. */
export interface Shard {
  index: number;
  total: number;
}

const TERMINAL = new Set<string>(['completed', 'passed', 'failed', 'error', 'cancelled', 'skipped']);

/** Whether an update may be left out where there is no room: what follows it says more. */
export function isDroppable(update: Update): boolean {
  return update.alive === true || (update.kind === 'test' && !TERMINAL.has(update.status ?? ''));
}
