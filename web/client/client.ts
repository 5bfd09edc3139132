import { call } from './call.ts';
import type { Refusal } from './error.ts';
import { createRegistry, type Registry } from './registry.ts';
import type { StreamSettings } from './stream.ts';
import { joinTabs, type Message, type Tabs, type Want } from './tabs.ts';
import { createToken, subjectOf } from './token.ts';
import { createTopic, isOver, type Topic, type TopicUpdate } from './topic.ts';
import type { Client, ClientOptions, ConnectionSnapshot, State, Watch, WatchOptions } from './types.ts';
import { type Watching, watchTopics } from './watch.ts';

/** How long the tab that leads may take to answer, in milliseconds; iOS suspends those in the background. */
const PATIENCE_MS = 3_000;
/** How long changes are collected before streams are opened or closed, in milliseconds. */
const COALESCE_MS = 50;

/** What reads need of a client: they are functions of their own, so that who does not read does not load them. */
export const internals = new WeakMap<
  Client,
  { settings: StreamSettings; warn: (refusal: Refusal) => void }
>();

/** A client of the functions at one address, for one subject. Nothing is opened before something is watched. */
export function createClient({
  url = '',
  token,
  tokenHeader = 'authorization',
  shareKey,
  fetch,
  random = Math.random,
}: ClientOptions = {}): Client {
  const settings: StreamSettings = {
    url: url.replace(/\/+$/, ''),
    token: createToken(token),
    tokenHeader,
    fetch,
    random,
    beacon(to) {
      if (fetch || !globalThis.navigator?.sendBeacon?.(to)) {
        (fetch ?? globalThis.fetch)(to, { method: 'POST', keepalive: true }).catch(() => {});
      }
    },
  };
  /** All that is watched here, and, where this tab leads, by the others. */
  const topics = new Map<string, Topic>();
  const watches = new Set<Watching>();
  const listeners = new Set<() => void>();
  /** The errors that the console has. */
  const warned = new Set<string>();
  /** What the other tabs are still to be told. */
  let told: TopicUpdate[] = [];
  /** What the other tabs want, where this one leads. */
  const wants = new Map<string, string[]>();
  /** Of which topics the tab that leads has told this one what there is. */
  const granted = new Set<string>();
  /** This tab, among the others. */
  let id: string | undefined;
  /** There is one where this tab leads, or works alone. */
  let registry: Registry | undefined;
  let tabs: Tabs | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** Runs while an answer of the tab that leads is waited for. */
  let patience: ReturnType<typeof setTimeout> | undefined;
  /** From a start to its stop; what was begun before a stop must not go on after it. */
  let life: AbortController | undefined;

  const connection = {
    snapshot: { state: 'idle', reconnects: 0, latencyMs: null, lastError: null } as ConnectionSnapshot,
    subscribe(listener: () => void) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };

  /** Says so on the console, once, whatever numbers are in it. */
  const warn = ({ message }: Refusal) => {
    const kind = message.replace(/\d/g, '');
    if (!warned.has(kind)) console.warn(`Runcast: ${message}`);
    warned.add(kind);
  };

  /** Returns whether that is a change. */
  const tell = (now: ConnectionSnapshot): boolean => {
    if (JSON.stringify(now) === JSON.stringify(connection.snapshot)) return false;
    connection.snapshot = now;
    if (now.lastError) warn(now.lastError);
    for (const watch of watches) watch.tell();
    for (const listener of listeners) call(listener);
    return true;
  };

  const idle = () => tell({ ...connection.snapshot, state: 'idle' });

  const schedule = () => {
    if (life) timer ??= setTimeout(settle, COALESCE_MS);
  };

  /** Acts on all that has changed. */
  const settle = () => {
    timer = undefined;
    const mine = [...watches].flatMap((watch) => watch.topics.map(({ key }) => key));
    const wanted = new Set(mine.concat(...wants.values()));
    for (const key of topics.keys()) if (!wanted.has(key)) topics.delete(key);
    if (registry) registry.reconcile();
    else say();
    if (topics.size || wants.size) return;
    const follows = !registry;
    stop();
    // What the leader goes on to say is about others' streams.
    if (follows) idle();
  };

  const topicOf = (key: string): Topic => {
    let topic = topics.get(key);
    // What has failed may be allowed by now, and what was over may have been opened again.
    if (!topic || isOver(topic)) {
      topic = createTopic(key);
      topics.set(key, topic);
      granted.delete(key);
    }
    return topic;
  };

  const take = (update: TopicUpdate) => {
    const topic = topics.get(update.key);
    if (!topic) return;
    const news = topic.take(update);
    for (const watch of watches) {
      if (!watch.topics.includes(topic)) continue;
      if (update.reset) watch.reset();
      news.forEach(watch.deliver);
      watch.settle();
    }
  };

  const lead = () => {
    granted.clear();
    registry?.close();
    registry = createRegistry({
      settings,
      topics,
      onUpdate(update) {
        // What comes at once goes at once.
        if (!told[0]) {
          queueMicrotask(() => {
            tabs?.post({ updates: told });
            told = [];
          });
        }
        told.push(update);
        take(update);
      },
      onConnection(now) {
        if (tell(now)) tabs?.post({ connection: now });
      },
      schedule,
    });
    tabs?.post({ ask: true });
    schedule();
  };

  /** Leads no more. */
  const follow = () => {
    registry?.close();
    registry = undefined;
    wants.clear();
    schedule();
  };

  /** Tells the leader what is wanted here, and where it has asked, what is known. */
  const say = (isAsked?: boolean) => {
    const mine = [...topics.values()].filter((topic) => !isOver(topic));
    tabs?.post({ from: id as string, want: mine.map((topic) => known(topic, isAsked)) });
    expect();
  };

  const stopWaiting = () => {
    clearTimeout(patience);
    patience = undefined;
  };

  /** Waits for an answer of the leader, and takes its place where none comes and somebody looks at this tab. */
  const expect = () => {
    if (registry || !tabs) return;
    patience ??= setTimeout(() => {
      patience = undefined;
      if (!registry && !isHidden()) tabs?.steal();
    }, PATIENCE_MS);
  };

  const hear = ({ to, from, want, updates, connection: now, ask: isAsked, wake: isWoken }: Message) => {
    if (registry) {
      if (isWoken) {
        registry.wake();
        tabs?.post({ connection: connection.snapshot });
      }
      if (from && want) grant(from, want);
      return;
    }
    // Only the leader speaks like this.
    if (!from && !isWoken) stopWaiting();
    if (isAsked) say(true);
    if (now) tell(now);
    updates?.forEach((update) => {
      // What all are told is what has changed: it is of use to who has been told what there is.
      if (to) granted.add(update.key);
      if (granted.has(update.key)) take(update);
    });
  };

  /** Another tab wants something: tells it what is known here, or learns from it where to go on. */
  const grant = (from: string, want: Want[]) => {
    if (!wants.has(from)) {
      tabs?.onceGone(from, () => {
        wants.delete(from);
        schedule();
      });
    }
    const keys = want.map(({ key }) => key);
    wants.set(from, keys);
    const updates = want.map(({ key, position, states }) => {
      const topic = topicOf(key);
      const { end, error } = topic;
      // Where it knows as much as this one, there is nothing to tell.
      const update = { ...known(topic, !position || position !== topic.position), end, error };
      if (!registry?.carries(topic)) {
        // The tab before this one told one more than the other: all go on from where the last of them is.
        const own = topic.position ?? position;
        take({ key, states, position: Number(position) < Number(own) ? position : own });
      }
      return update;
    });
    tabs?.post({ to: from, updates, connection: connection.snapshot });
    schedule();
  };

  /** Whose streams these are; `undefined` where they cannot be shared. */
  const subject = async (): Promise<string | undefined> => {
    if (shareKey === false || !globalThis.navigator?.locks || !globalThis.BroadcastChannel) return undefined;
    return shareKey || settings.token.get().then(subjectOf, () => undefined);
  };

  const wake = () => {
    if (isHidden()) return;
    registry?.wake();
    // A leader in the background has its timers slowed down, but not its messages, unless it is suspended.
    tabs?.post({ wake: true });
    expect();
  };

  /** Joins the other tabs, or works alone. */
  const start = () => {
    if (life) return schedule();
    life = new AbortController();
    const { signal } = life;
    on('online', wake, { signal });
    on('pagehide', hide, { signal });
    // It bubbles up from the document.
    on('visibilitychange', wake, { signal });
    void subject().then((whose) => {
      if (signal.aborted) return;
      if (!whose) return lead();
      id ??= Math.random().toString(36).slice(2);
      const name = `runcast ${settings.url} ${whose}`;
      tabs = joinTabs(name, id, hear, schedule, () => !signal.aborted && lead(), follow);
    });
    schedule();
  };

  const stop = () => {
    life?.abort();
    life = undefined;
    follow();
    clearTimeout(timer);
    timer = undefined;
    stopWaiting();
    tabs?.leave();
    tabs = undefined;
  };

  /** The page goes, maybe to come back from the back/forward cache: it must hold nothing meanwhile. */
  const hide = () => {
    stop();
    on('pageshow', show, { once: true });
  };

  const show = () => {
    if (watches.size) start();
  };

  const watch = <S extends State>(
    part: string,
    ids: string | readonly string[],
    options: WatchOptions<S> = {},
  ): Watch<S> => {
    const keys = new Set([ids].flat().map((each) => part + each));
    const release = () => {
      watches.delete(watching);
      schedule();
    };
    const watching = watchTopics<S>([...keys].map(topicOf), options, connection, release);
    if (!options.signal?.aborted) {
      watches.add(watching);
      show();
    }
    return watching;
  };

  const client: Client = {
    connection,
    watchTest: (testId, options) => watch('test-status?testId=', testId, options),
    watchJobRun: (runId, options) => watch('job-status?runId=', runId, options),
    watchRunTests: (runId, options) => watch('test-status?runId=', runId, options),
    watchProject: ({ projectId, kind }, options) => watch(`${kind}-status?projectId=`, projectId, options),
    watchQueueStats: (options) => watch('queue-stats', '', options),
    setToken: settings.token.set,
    close() {
      for (const each of watches) each.close();
      stop();
      topics.clear();
      idle();
    },
  };
  internals.set(client, { settings, warn });
  return client;
}

const on = (type: string, listener: () => void, options: AddEventListenerOptions): void =>
  globalThis.addEventListener?.(type, listener, options);

const isHidden = (): boolean => globalThis.document?.hidden;

const known = ({ key, position, states }: Topic, withStates: boolean | undefined): Want => ({
  key,
  position,
  states: withStates ? [...states.values()] : [],
});
