import { call } from './call.ts';
import { RuncastError } from './error.ts';
import { Registry } from './registry.ts';
import { ask, failureOf, type Refusal, refusalOf } from './request.ts';
import { RunView } from './run.ts';
import type { JobState, Kind, QueueStats, TestState } from './schema.ts';
import type { StreamSettings } from './stream.ts';
import { type Message, Tabs, type Want } from './tabs.ts';
import { subjectOf, Token, type TokenSource } from './token.ts';
import { Topic, type TopicUpdate } from './topic.ts';
import type {
  Client,
  ClientOptions,
  Connection,
  ConnectionSnapshot,
  RunSnapshot,
  Runs,
  State,
  Watch,
  WatchOptions,
} from './types.ts';
import { type View, Watching } from './watch.ts';

/** How long the tab that leads may take to answer, in milliseconds; iOS suspends those in the background. */
const PATIENCE_MS = 3_000;
/** How long changes are collected before streams are opened or closed, in milliseconds. */
const COALESCE_MS = 50;

/** A client of the functions at one address, for one subject. Nothing is opened before something is watched. */
export function createClient(options: ClientOptions = {}): Client {
  return new RuncastClient(options);
}

class RuncastClient implements Client {
  readonly connection: Connection;
  readonly runs: Runs;
  #id = '';
  readonly #settings: StreamSettings;
  readonly #shareKey: string | false | undefined;
  /** All that is watched here, and, where this tab leads, by the others. */
  readonly #topics = new Map<string, Topic>();
  readonly #watches = new Set<Watching<unknown>>();
  readonly #listeners = new Set<() => void>();
  #snapshot: ConnectionSnapshot = { state: 'idle', reconnects: 0, latencyMs: null, lastError: null };
  /** The errors that the console has. */
  readonly #said = new Set<string>();
  /** What the other tabs are still to be told. */
  readonly #told: TopicUpdate[] = [];
  /** What the other tabs want, where this one leads. */
  readonly #wants = new Map<string, Set<string>>();
  /** There is one where this tab leads, or works alone. */
  #registry: Registry | undefined;
  #tabs: Tabs | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Runs while an answer of the tab that leads is waited for. */
  #patience: ReturnType<typeof setTimeout> | undefined;
  /** From a start to its stop; what was begun before a stop must not go on after it. */
  #life: AbortController | undefined;

  constructor({ url = '', token, tokenHeader = 'authorization', shareKey, fetch, random }: ClientOptions) {
    const beacon = (to: string) => {
      if (fetch || !globalThis.navigator?.sendBeacon?.(to)) {
        (fetch ?? globalThis.fetch)(to, { method: 'POST', keepalive: true }).catch(() => {});
      }
    };
    this.#settings = {
      url: url.replace(/\/+$/, ''),
      token: new Token(token),
      tokenHeader,
      fetch,
      random: random ?? Math.random,
      beacon,
    };
    this.#shareKey = shareKey;
    const client = this;
    this.runs = {
      list: ({ signal, ...query }) => this.#get('', query, signal),
      get: (runId, { signal } = {}) => this.#get(`/${runId}`, {}, signal),
      history: (runId, { signal, ...query } = {}) =>
        this.#get(`/${runId}`, { history: true, ...query }, signal),
    };
    this.connection = {
      get snapshot() {
        return client.#snapshot;
      },
      subscribe(listener) {
        client.#listeners.add(listener);
        return () => client.#listeners.delete(listener);
      },
    };
  }

  watchTest(id: string | readonly string[], options: WatchOptions<TestState> = {}): Watch<TestState> {
    return this.#watch(keysOf('test-status?testId=', id), options);
  }

  watchJobRun(id: string | readonly string[], options: WatchOptions<JobState> = {}): Watch<JobState> {
    return this.#watch(keysOf('job-status?runId=', id), options);
  }

  watchRun(runId: string, options: WatchOptions<RunSnapshot> = {}): Watch<RunSnapshot> {
    return this.#watch(
      [`job-status?runId=${runId}`, `test-status?runId=${runId}`],
      options,
      ([, tests], tell) => new RunView(() => !tests?.position && !tests?.end, tell),
    );
  }

  watchProject<K extends Kind, S extends State>(
    { projectId, kind }: { projectId: string; kind: K },
    options: WatchOptions<S> = {},
  ): Watch<S> {
    return this.#watch([`${kind}-status?projectId=${projectId}`], options);
  }

  watchQueueStats(options: WatchOptions<QueueStats> = {}): Watch<QueueStats> {
    return this.#watch(['queue-stats'], options);
  }

  close(): void {
    for (const watch of [...this.#watches]) watch.close();
    this.#stop();
    this.#topics.clear();
    this.#tell({ ...this.#snapshot, state: 'idle' });
  }

  setToken(token: TokenSource): void {
    this.#settings.token.set(token);
  }

  /** What the server answers, as JSON; throws where it does not. */
  async #get<T>(path: string, query: object = {}, signal?: AbortSignal): Promise<T> {
    const values = Object.entries(query).flatMap(([name, value]) =>
      [value]
        .flat()
        .filter((each) => each !== undefined)
        .map((each) => [name, `${each}`]),
    );
    let refusal: Refusal;
    try {
      const init = { headers: { accept: 'application/json' }, cache: 'no-cache' } as const;
      const address = `/api/runs${path}?${new URLSearchParams(values)}`;
      const [response] = await ask(this.#settings, address, init, () => signal ?? null);
      if (response.ok) return await response.json();
      refusal = await refusalOf(response);
    } catch (error) {
      signal?.throwIfAborted();
      refusal = failureOf(error);
    }
    this.#warn(refusal);
    throw new RuncastError(refusal.status, refusal.message, refusal.problem);
  }

  /** Says so on the console, once, whatever numbers are in it. */
  readonly #warn = ({ status, message }: Refusal): void => {
    const key = `${status} ${message.replace(/\d+/g, '')}`;
    if (!this.#said.has(key)) console.warn(`Runcast: ${message}`);
    this.#said.add(key);
  };

  #watch<S>(
    keys: string[],
    options: WatchOptions<S>,
    viewOf?: (topics: Topic[], tell: (state: S) => void) => View<S>,
  ): Watch<S> {
    const topics = keys.map((key) => this.#topic(key));
    const release = () => {
      this.#watches.delete(watch as Watching<unknown>);
      this.#schedule();
    };
    const view = viewOf && ((tell: (state: S) => void) => viewOf(topics, tell));
    const watch: Watching<S> = new Watching<S>(topics, options, this.connection, release, view);
    if (options.signal?.aborted) return watch;
    this.#watches.add(watch as Watching<unknown>);
    this.#start();
    this.#schedule();
    return watch;
  }

  #topic(key: string): Topic {
    let topic = this.#topics.get(key);
    // What has failed may be allowed by now, and what was over may have been opened again.
    if (!topic || topic.isOver) {
      topic = new Topic(key);
      this.#topics.set(key, topic);
    }
    return topic;
  }

  /** Joins the other tabs, or works alone. */
  #start(): void {
    if (this.#life) return;
    this.#id ||= Math.random().toString(36).slice(2);
    this.#life = new AbortController();
    const { signal } = this.#life;
    globalThis.addEventListener?.('online', this.#wake, { signal });
    globalThis.addEventListener?.('pagehide', this.#hide, { signal });
    globalThis.document?.addEventListener('visibilitychange', this.#wake, { signal });
    void this.#subject().then((subject) => {
      if (signal.aborted) return;
      if (!subject) return this.#lead();
      const name = `runcast ${this.#settings.url} ${subject}`;
      this.#tabs = new Tabs(name, this.#id, {
        onMessage: this.#hear,
        onLead: () => !signal.aborted && this.#lead(),
        onLost: () => this.#follow(),
      });
      this.#schedule();
    });
  }

  /** Whose streams these are; `undefined` where they cannot be shared. */
  async #subject(): Promise<string | undefined> {
    if (this.#shareKey === false || !globalThis.navigator?.locks || !globalThis.BroadcastChannel)
      return undefined;
    if (this.#shareKey) return this.#shareKey;
    return this.#settings.token.get().then(subjectOf, () => undefined);
  }

  #lead(): void {
    this.#registry?.close();
    this.#registry = new Registry({
      settings: this.#settings,
      topics: this.#topics,
      onUpdate: (update) => {
        // What comes at once goes at once.
        if (!this.#told.length) queueMicrotask(this.#share);
        this.#told.push(update);
        this.#take(update);
      },
      onError: this.#warn,
      onConnection: (connection) => {
        if (this.#tell(connection)) this.#tabs?.post({ connection });
      },
      schedule: this.#schedule,
    });
    this.#tabs?.post({ ask: true });
    this.#schedule();
  }

  readonly #share = (): void => {
    const updates = this.#told.splice(0);
    if (updates[0]) this.#tabs?.post({ updates });
  };

  /** Leads no more. */
  #follow(): void {
    this.#registry?.close();
    this.#registry = undefined;
    this.#wants.clear();
    this.#schedule();
  }

  #stop(): void {
    this.#life?.abort();
    this.#life = undefined;
    this.#follow();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    clearTimeout(this.#patience);
    this.#patience = undefined;
    this.#tabs?.leave();
    this.#tabs = undefined;
  }

  readonly #schedule = (): void => {
    if (this.#life) this.#timer ??= setTimeout(this.#settle, COALESCE_MS);
  };

  /** Acts on all that has changed. */
  readonly #settle = (): void => {
    this.#timer = undefined;
    const wanted = new Set([...this.#watches].flatMap((watch) => watch.topics));
    for (const [key, topic] of this.#topics) {
      const isWanted = wanted.has(topic) || [...this.#wants.values()].some((keys) => keys.has(key));
      if (!isWanted) this.#topics.delete(key);
    }
    if (this.#registry) this.#registry.reconcile();
    else this.#say();
    if (this.#topics.size || this.#wants.size) return;
    const follows = !this.#registry;
    this.#stop();
    // What the leader goes on to say is about others' streams.
    if (follows) this.#tell({ ...this.#snapshot, state: 'idle' });
  };

  /** Tells the leader what is wanted here. */
  #say(isAsked = false): void {
    const topics = [...this.#topics.values()].filter((topic) => !topic.isOver);
    // The leader told what is known here, unless it is a new one.
    const want = topics.map((topic) => ({ ...known(topic), ...(!isAsked && { states: [] }) }));
    this.#tabs?.post({ from: this.#id, want });
    this.#expect();
  }

  /** Waits for an answer of the leader, and takes its place where none comes and somebody looks at this tab. */
  #expect(): void {
    if (this.#registry || !this.#tabs) return;
    this.#patience ??= setTimeout(() => {
      this.#patience = undefined;
      if (!this.#registry && !isHidden()) this.#tabs?.steal();
    }, PATIENCE_MS);
  }

  readonly #hear = ({ from, want, updates, connection, ask, wake }: Message): void => {
    if (this.#registry) {
      if (wake) {
        this.#registry.wake();
        this.#tabs?.post({ connection: this.#snapshot });
      }
      if (from && want) this.#grant(from, want);
      return;
    }
    // Only the leader speaks like this.
    if (!from && !wake) {
      clearTimeout(this.#patience);
      this.#patience = undefined;
    }
    if (ask) this.#say(true);
    if (connection) this.#tell(connection);
    for (const update of updates ?? []) this.#take(update);
  };

  /** Another tab wants something: tells it what is known here, or learns from it where to go on. */
  #grant(from: string, want: Want[]): void {
    if (!this.#wants.has(from)) {
      this.#tabs?.onceGone(from, () => {
        this.#wants.delete(from);
        this.#schedule();
      });
    }
    this.#wants.set(from, new Set(want.map(({ key }) => key)));
    const updates: TopicUpdate[] = [];
    for (const { key, position, states } of want) {
      const topic = this.#topic(key);
      const { end, error } = topic;
      // Where it knows as much as this one, there is nothing to tell.
      const isSame = position && position === topic.position;
      updates.push({
        ...known(topic),
        ...(isSame && { states: [] }),
        ...(end && { end }),
        ...(error && { error }),
      });
      if (this.#registry?.carries(topic)) continue;
      // The tab before this one told one more than the other: all go on from where the last of them is.
      const behind = topic.position && position && Number(topic.position) < Number(position);
      this.#take({ key, states, position: behind ? topic.position : (position ?? topic.position) });
    }
    this.#tabs?.post({ to: from, updates, connection: this.#snapshot });
    this.#schedule();
  }

  #take(update: TopicUpdate): void {
    const topic = this.#topics.get(update.key);
    if (!topic) return;
    const news = topic.take(update);
    const watches = [...this.#watches].filter((watch) => watch.topics.includes(topic));
    for (const watch of watches) {
      if (update.reset) watch.reset(topic);
      for (const state of news) watch.deliver(state);
      watch.settle();
    }
  }

  /** Returns whether that is a change. */
  #tell(connection: ConnectionSnapshot): boolean {
    if (JSON.stringify(connection) === JSON.stringify(this.#snapshot)) return false;
    this.#snapshot = connection;
    for (const listener of [...this.#listeners]) call(listener);
    return true;
  }

  readonly #wake = (): void => {
    if (isHidden()) return;
    this.#registry?.wake();
    // A leader in the background has its timers slowed down, but not its messages, unless it is suspended.
    this.#tabs?.post({ wake: true });
    this.#expect();
  };

  /** The page goes, maybe to come back from the back/forward cache: it must hold nothing meanwhile. */
  readonly #hide = (): void => {
    this.#stop();
    globalThis.addEventListener?.('pageshow', this.#show, { once: true });
  };

  readonly #show = (): void => {
    if (!this.#watches.size) return;
    this.#start();
    this.#schedule();
  };
}

const keysOf = (prefix: string, id: string | readonly string[]): string[] =>
  [...new Set(typeof id === 'string' ? [id] : id)].map((each) => prefix + each);

const isHidden = (): boolean => globalThis.document?.visibilityState === 'hidden';

const known = ({ key, position, states }: Topic): Want => ({ key, position, states: [...states.values()] });
