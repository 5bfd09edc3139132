import {
  type Client,
  type ConnectionState,
  createClient,
  isTerminal,
  type JobState,
  type QueueStats,
  type RuncastError,
  type TestState,
  type WatchOptions,
} from 'runcast-client';
import { localToken, type Settings } from './settings.ts';

/** The contract's limit for tokens is the server's business; locally, one lives so long. */
const TOKEN_SECONDS = 300;
/** How many points a plot shows. */
const PLOTTED = 120;
const MOST_RUNS = 100;
const MOST_TESTS = 400;
/** An empty project sends nothing: after so long with an open stream, it counts as empty. */
const EMPTY_AFTER_MS = 400;

/** A value at a time, in milliseconds since the epoch. */
export interface Point {
  at: number;
  values: number[];
}

/** All that the page shows. Replaced, never mutated. */
export interface Snapshot {
  runs: readonly JobState[];
  tests: readonly TestState[];
  queues: QueueStats | undefined;
  queuesError: RuncastError | undefined;
  queueHistory: readonly Point[];
  /** From when a live event occurred, by its producer's clock, to when it came, by this machine's. */
  latency: readonly Point[];
  connection: ConnectionState;
  reconnects: number;
  renewals: number;
  /** Whether what there is has been told: only then an empty list is empty. */
  isKnown: boolean;
  error: RuncastError | undefined;
  /** Which client it is: what was watched with the one before has to be watched again. */
  generation: number;
}

/** Gets each run that ended while this page watched, once; again, where it was opened again. */
export type OnFinish = (run: JobState) => void;

/** What happens, as it happens: the one store of the page. */
export class Live {
  readonly settings: Settings;
  #client: Client;
  #snapshot: Snapshot = {
    runs: [],
    tests: [],
    queues: undefined,
    queuesError: undefined,
    queueHistory: [],
    latency: [],
    connection: 'idle',
    reconnects: 0,
    renewals: 0,
    isKnown: false,
    error: undefined,
    generation: 0,
  };
  readonly #listeners = new Set<() => void>();
  readonly #finishListeners = new Set<OnFinish>();
  readonly #runs = new Map<string, JobState>();
  readonly #tests = new Map<string, TestState>();
  /** Runs that had ended before a reset, with their attempt. */
  readonly #ended = new Map<string, number>();
  /** Changes that are not shown yet. */
  #changes: Partial<Snapshot> = {};
  #isScheduled = false;
  /** Of the clients before this one. */
  #earlierReconnects = 0;
  #tokens = 0;
  /** Everything that occurred before is history, and its latency no measure of the stream. */
  #openedAt = Number.POSITIVE_INFINITY;

  constructor(settings: Settings) {
    this.settings = settings;
    this.#client = this.#open(TOKEN_SECONDS);
  }

  /** Watches with a token that lives only so long; resolves when an ordinary one has followed it, in this tab. */
  watchWithToken(ttlSeconds: number): Promise<void> {
    this.#earlierReconnects = this.#snapshot.reconnects;
    this.#client.close();
    const generation = this.#snapshot.generation + 1;
    this.#change({ generation, error: undefined, queuesError: undefined });
    return new Promise((renewed) => {
      this.#client = this.#open(ttlSeconds, renewed);
    });
  }

  /** Every event of one run, from its first; until the next generation. */
  watchHistory(runId: string, { onState, ...options }: WatchOptions<JobState>) {
    let last = -1;
    const once = (state: JobState) => {
      if (state.seq > last) onState?.(state);
      last = Math.max(last, state.seq);
    };
    const past = this.#client.runs.history(runId).then(
      ({ events }) => events.forEach(once),
      () => {},
    );
    const follow = (state: JobState) => void past.then(() => once(state));
    return this.#client.watchJobRun(runId, { ...options, onState: follow });
  }

  onFinish(listener: OnFinish): () => void {
    this.#finishListeners.add(listener);
    return () => this.#finishListeners.delete(listener);
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly snapshot = (): Snapshot => this.#snapshot;

  #open(firstTtlSeconds: number, renewed?: () => void): Client {
    const { apiUrl, organizationId, projectId, local } = this.settings;
    let ttlSeconds = firstTtlSeconds;
    const client = createClient({
      url: apiUrl,
      shareKey: `${organizationId}/${projectId}`,
      ...(local && {
        token: async () => {
          const token = await localToken(organizationId, ttlSeconds);
          if (ttlSeconds !== firstTtlSeconds) renewed?.();
          ttlSeconds = TOKEN_SECONDS;
          if (this.#tokens++) this.#change({ renewals: this.#tokens - 1 });
          return token;
        },
      }),
    });
    const onError = (error: RuncastError) => this.#change({ error });
    const onConnection = () => {
      const { state, reconnects } = client.connection.snapshot;
      // A client that was closed to make place for another says no more.
      if (client !== this.#client) return;
      this.#change({ connection: state, reconnects: this.#earlierReconnects + reconnects });
      if (state === 'open') {
        this.#openedAt = Math.min(this.#openedAt, Date.now());
        setTimeout(() => this.#change({ isKnown: true }), EMPTY_AFTER_MS);
      }
    };
    client.connection.subscribe(onConnection);
    client.watchProject(
      { projectId, kind: 'job' },
      { onState: (run) => this.#takeRun(run), onReset: () => this.#forgetRuns(), onError },
    );
    client.watchProject(
      { projectId, kind: 'test' },
      { onState: (test) => this.#takeTest(test), onReset: () => this.#forgetTests(), onError },
    );
    client.watchQueueStats({
      onState: (queues) => this.#takeQueues(queues),
      onError: (queuesError) => this.#change({ queuesError }),
    });
    return client;
  }

  #forgetRuns(): void {
    for (const [id, { status, attempt }] of this.#runs) if (isTerminal(status)) this.#ended.set(id, attempt);
    this.#runs.clear();
    this.#change({ runs: [] });
  }

  #forgetTests(): void {
    this.#tests.clear();
    this.#change({ tests: [] });
  }

  #takeRun(run: JobState): void {
    const before = this.#runs.get(run.runId);
    if (before && before.seq >= run.seq) return;
    this.#measure(run, before);
    remember(this.#runs, run.runId, run, before, MOST_RUNS);
    this.#change({ runs: [] });
    if (isTerminal(run.status) && this.#isNews(run, before))
      for (const listener of this.#finishListeners) listener(run);
  }

  /** Whether nobody was told of the end of this attempt. */
  #isNews(run: JobState, before: JobState | undefined): boolean {
    if (before && !isTerminal(before.status)) return true;
    const told = before?.attempt ?? this.#ended.get(run.runId);
    return told === undefined ? this.#isLive(run.occurredAt) : run.attempt > told;
  }

  #takeTest(test: TestState): void {
    const before = this.#tests.get(test.testId);
    if (before && before.seq >= test.seq) return;
    this.#measure(test, before);
    remember(this.#tests, test.testId, test, before, MOST_TESTS);
    this.#change({ tests: [] });
  }

  #takeQueues(queues: QueueStats): void {
    const point = { at: Date.now(), values: [queues.running, queues.queued] };
    this.#change({ queues, queueHistory: [...this.#latest('queueHistory'), point].slice(-PLOTTED) });
  }

  #isLive(occurredAt: string | null): boolean {
    return !!occurredAt && Date.parse(occurredAt) >= this.#openedAt;
  }

  #measure({ occurredAt, stale }: JobState | TestState, before: JobState | TestState | undefined): void {
    // That nothing was heard of it for long, or is again, is no news that was long on its way.
    if (!occurredAt || stale || occurredAt === before?.occurredAt || !this.#isLive(occurredAt)) return;
    const now = Date.now();
    const point = { at: now, values: [Math.max(0, now - Date.parse(occurredAt))] };
    this.#change({ latency: [...this.#latest('latency'), point].slice(-PLOTTED) });
  }

  #latest(name: 'latency' | 'queueHistory'): readonly Point[] {
    return this.#changes[name] ?? this.#snapshot[name];
  }

  /** Collects changes: what comes in one burst is drawn once. A page in the background draws nothing. */
  #change(changes: Partial<Snapshot>): void {
    Object.assign(this.#changes, changes);
    if (changes.runs) this.#changes.isKnown = true;
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    const show = () => {
      this.#isScheduled = false;
      const news = this.#changes;
      this.#changes = {};
      if (news.runs) news.runs = [...this.#runs.values()].reverse();
      if (news.tests) news.tests = [...this.#tests.values()].reverse();
      this.#snapshot = { ...this.#snapshot, ...news };
      for (const listener of this.#listeners) listener();
    };
    if (document.hidden) setTimeout(show, 250);
    else requestAnimationFrame(show);
  }
}

/** What began last, and what ended last, stands last; the oldest that has ended is forgotten. */
function remember<S extends JobState | TestState>(
  states: Map<string, S>,
  id: string,
  state: S,
  before: S | undefined,
  most: number,
): void {
  const isOver = isTerminal(state.status);
  if (before ? isOver !== isTerminal(before.status) : isOver) states.delete(id);
  states.set(id, state);
  if (states.size <= most) return;
  for (const [oldest, { status }] of states) {
    if (isTerminal(status)) {
      states.delete(oldest);
      return;
    }
  }
}
