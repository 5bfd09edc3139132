import type { Refusal, RuncastError } from './error.ts';
import type { JobState, Kind, QueueStats, Status, TestState } from './schema.ts';
import type { TokenSource } from './token.ts';

/** The state of one execution. */
export type ExecutionState = JobState | TestState;

/** What a stream may carry. */
export type State = ExecutionState | QueueStats;

/** Why a watch ended: all that it watched is over, or the server closed it. */
export type WatchEnd = 'complete' | 'closed';

/** How the client stands with the server. */
export type ConnectionState = 'idle' | 'connecting' | 'open' | 'reconnecting' | 'ended' | 'failed';

/** How the client, or the tab that holds the streams for it, stands with the server. Never mutated. */
export interface ConnectionSnapshot {
  readonly state: ConnectionState;
  /** How often a stream had to be opened again because it broke; not for its planned rotation. */
  readonly reconnects: number;
  /** From when the last live event occurred to when it came, by this machine's clock; `null` before any did. */
  readonly latencyMs: number | null;
  /**
   * Why it is not open: what the server said (`status`, `message`, `problem`), or, with the status 0, why there was no
   * answer. `null` where all is well. The console has a line for each that differs from those before.
   */
  readonly lastError: Readonly<Refusal> | null;
}

/** A connection snapshot that changes. */
export interface Connection {
  readonly snapshot: ConnectionSnapshot;
  /** Calls `listener` after each change; returns what ends that. */
  subscribe(listener: () => void): () => void;
}

export interface WatchOptions<S> {
  /** Gets each state, once and in order, beginning with the current one. */
  onState?: (state: S) => void;
  /**
   * What was told before no longer holds: the current states follow, also those that were told. So it is where the log
   * was pruned or restored meanwhile; who collects the states of a project begins anew. Not called for several ids.
   */
  onReset?: () => void;
  /** Is called once all that there is has been told, if there is anything: what follows is news. Again after a reset. */
  onCurrent?: () => void;
  /** Is called once, when no state can follow; not after `onError`. */
  onEnd?: (reason: WatchEnd) => void;
  /** Is called once, where the server will never serve this: the watch is over. Temporary errors are not told here. */
  onError?: (error: RuncastError) => void;
  /** Gets the connection's snapshot, now and after each change. */
  onConnection?: (connection: ConnectionSnapshot) => void;
  /** Closes the watch. */
  signal?: AbortSignal;
}

/** A run and its tests, as they stand together. Never mutated; what has not changed is the same object as before. */
export interface RunSnapshot {
  readonly run: JobState;
  /** By their ids, in the order in which they came: those not finished, the failed, the rest, and then the new ones. */
  readonly tests: ReadonlyMap<string, TestState>;
  /** Whether tests that there were before are still to come. */
  readonly isLoading: boolean;
  /**
   * Whether `run.tests` counts what is in `tests`. It does, but while these are loading, and where one of the two streams
   * has broken for more than a second.
   */
  readonly isConsistent: boolean;
}

export interface ReadOptions {
  signal?: AbortSignal | undefined;
}

export interface RunsQuery extends ReadOptions {
  projectId: string;
  /** One of these. */
  status?: Status | readonly Status[] | undefined;
  /** What their id, name or labels have in them, in any case. */
  search?: string | undefined;
  /** The `next` of the page before. */
  before?: string | undefined;
  /** How many that have ended, 1 to 200; otherwise 50. */
  limit?: number | undefined;
}

export interface RunHistoryQuery extends ReadOptions {
  /** The `next` of the page before. */
  after?: number | undefined;
}

/** What is being watched. Iterating over it yields the states; it ends, or throws a {@link RuncastError}. */
export interface Watch<S> extends AsyncIterable<S> {
  close(): void;
}

export interface ProjectOptions<K extends Kind> {
  projectId: string;
  kind: K;
}

export interface Client {
  /** Test executions, until all of them are over. */
  watchTest(id: string | readonly string[], options?: WatchOptions<TestState>): Watch<TestState>;
  /** Job runs, until all of them are over. */
  watchJobRun(id: string | readonly string[], options?: WatchOptions<JobState>): Watch<JobState>;
  /**
   * All tests of a run, those to come included. Where its stream carries others, too, nothing says that the run is over:
   * `watchRun` knows.
   */
  watchRunTests(runId: string, options?: WatchOptions<TestState>): Watch<TestState>;
  /** Every execution of a kind in a project: those not finished, the 20 that finished last, then every event. */
  watchProject<K extends Kind>(
    project: ProjectOptions<K>,
    options?: WatchOptions<K extends 'job' ? JobState : TestState>,
  ): Watch<K extends 'job' ? JobState : TestState>;
  watchQueueStats(options?: WatchOptions<QueueStats>): Watch<QueueStats>;
  readonly connection: Connection;
  /** The next connection has this token. Those that are open go on. */
  setToken(token: ClientOptions['token']): void;
  /** Closes every watch, and tells the server. */
  close(): void;
}

export interface ClientOptions {
  /** Where the functions are; the page's own origin where empty. */
  url?: string;
  /** The token, or what gets a new one: it is called at first, on 401 and when the server says `expired`. */
  token?: TokenSource;
  /** In which header it goes; `x-auth-token` where something in front needs `authorization` for itself. */
  tokenHeader?: 'authorization' | 'x-auth-token';
  /**
   * Tabs with the same `url` and the same key share their streams. By default the `org`, `sub` and `projects` of the
   * token; `false`: this client shares with nobody. A token that is not a JWT, or a cookie, needs a key to be shared.
   */
  shareKey?: string | false;
  /** Stands in for the browser's; the close beacon is then sent with it, too. */
  fetch?: typeof fetch;
  /** Stands in for `Math.random`, for the jitter. */
  random?: () => number;
}
