import { type Over, Stream, type StreamSettings } from './stream.ts';
import { type Family, idOf, type Topic, type TopicUpdate } from './topic.ts';
import type { ConnectionSnapshot, ConnectionState, State } from './types.ts';

/** How many executions one stream carries; the server refuses more. */
const MAX_IDS = 50;

/** The function that serves a family, and how it is asked. */
function served(family: Family): [name: string, query: (ids: string[]) => string] {
  const [kind, form] = family.split('-');
  if (kind === 'queue') return ['queue-stats', () => ''];
  const parameter = form === 'project' ? 'projectId' : kind === 'job' ? 'runId' : 'testId';
  return [
    `${kind}-status`,
    (ids) => (form === 'history' ? `/${ids}` : `?${ids.map((id) => `${parameter}=${id}`).join('&')}`),
  ];
}

/** Whom a registry serves. */
export interface RegistryOwner {
  readonly settings: StreamSettings;
  /** What is watched. */
  readonly topics: ReadonlyMap<string, Topic>;
  readonly onUpdate: (update: TopicUpdate) => void;
  readonly onConnection: (connection: ConnectionSnapshot) => void;
  /** Asks for {@link Registry.reconcile} soon, once for all that happens until then. */
  readonly schedule: () => void;
}

/** A stream, and the topics that it carries, in the order in which it asked for them. */
interface Held {
  topics: Topic[];
  family: Family;
  stream: Stream;
  /** Those whose topics it takes over once it is open. */
  replaces: Held[];
}

/** The streams of a client, or of all tabs that share one: as few as serve every topic. */
export class Registry {
  readonly #owner: RegistryOwner;
  #held = new Set<Held>();
  /** Whose merged streams the server refused: they stay apart. */
  readonly #unmerged = new Set<Family>();
  #reconnects = 0;
  #latencyMs: number | null = null;
  /** How the last stream ended, which is how the client stands when there is none. */
  #last: ConnectionState = 'idle';

  constructor(owner: RegistryOwner) {
    this.#owner = owner;
  }

  /**
   * Makes the streams fit what is watched. Topics that have just come get a stream of their own; once it has told their
   * states, and so has a cursor, it is merged with others: these go on until the merged stream is open, whose cursor has a
   * part for each, so that nothing is lost or late, and what comes twice is told once.
   */
  reconcile(): void {
    const carried = new Set<Topic>();
    for (const held of this.#held) {
      const live = held.topics.filter((topic) => this.#isLive(topic));
      if (!live.length) this.#drop(held);
      for (const topic of live) carried.add(topic);
    }
    const fresh = [...this.#owner.topics.values()].filter(
      (topic) => this.#isLive(topic) && !carried.has(topic),
    );
    for (const family of new Set([...this.#owner.topics.values()].map((topic) => topic.family))) {
      const most = family === 'job' || family === 'test' ? MAX_IDS : 1;
      const mine = fresh.filter((topic) => topic.family === family);
      // After another tab's end: what has a cursor goes on from it, and the rest is asked for its state.
      this.#open(
        family,
        mine.filter((topic) => topic.position),
        most,
      );
      this.#open(
        family,
        mine.filter((topic) => !topic.position),
        most,
      );
      if (most > 1) this.#merge(family);
    }
    this.#changed();
  }

  /** The page woke up. */
  wake(): void {
    for (const { stream } of this.#held) stream.wake();
  }

  /** Ends every stream. */
  close(): void {
    for (const held of this.#held) this.#drop(held);
  }

  /** Whether a stream carries it. */
  carries(topic: Topic): boolean {
    return [...this.#held].some((held) => held.topics.includes(topic));
  }

  #isLive(topic: Topic): boolean {
    return this.#owner.topics.get(topic.key) === topic && !topic.isOver;
  }

  #merge(family: Family): void {
    const mine = [...this.#held].filter((held) => held.family === family);
    // A merge may take long, as where the server asks for a wait.
    if (this.#unmerged.has(family) || mine.some((held) => held.replaces.length)) return;
    const topics: Topic[] = [];
    const merged = mine.filter((held) => {
      const live = held.topics.filter((topic) => this.#isLive(topic));
      const fits =
        held.stream.state === 'open' &&
        live.length < MAX_IDS &&
        live.every((topic) => topic.position) &&
        topics.length + live.length <= MAX_IDS;
      if (fits) topics.push(...live);
      return fits;
    });
    if (merged.length > 1) this.#hold(family, topics, merged);
  }

  #open(family: Family, topics: Topic[], most: number): void {
    for (let start = 0; start < topics.length; start += most) {
      this.#hold(family, topics.slice(start, start + most));
    }
  }

  #hold(family: Family, topics: Topic[], replaces: Held[] = []): void {
    const [name, query] = served(family);
    const held: Held = { topics, family, stream: undefined as unknown as Stream, replaces };
    const isHeld = () => this.#held.has(held);
    this.#held.add(held);
    held.stream = new Stream(this.#owner.settings, name, {
      request: () => {
        // What is over or no longer watched leaves when the stream is opened again.
        held.topics = held.topics.filter((topic) => this.#isLive(topic));
        if (!isHeld() || !held.topics.length) {
          this.#held.delete(held);
          return undefined;
        }
        const positions = held.topics.map((topic) => topic.position);
        const cursor = positions.every((position) => position) ? positions.join() : undefined;
        return { query: query(held.topics.map((topic) => topic.id)), cursor };
      },
      onFrame: (state, cursor) => isHeld() && this.#frame(held, state, cursor),
      onReset: () => {
        if (isHeld())
          for (const { key } of held.topics) this.#owner.onUpdate({ key, states: [], reset: true });
      },
      onOver: (over) => {
        if (!isHeld()) return;
        if (over.error && held.replaces.length) {
          // Those that it was to replace go on.
          this.#unmerged.add(family);
          return this.#drop(held);
        }
        // One id that is not ours costs all others their stream: find out which.
        const isSuspect = over.end === 'closed' || over.error?.status === 400 || over.error?.status === 404;
        if (isSuspect && held.topics.length > 1) this.#halve(held);
        else this.#finish(held, over);
      },
      onChange: () => {
        if (!isHeld()) return;
        if (held.stream.state === 'open') {
          this.#replace(held);
          // It may be merged with others now.
          this.#owner.schedule();
        }
        this.#changed();
      },
    });
  }

  #frame(held: Held, state: State | undefined, cursor: string | undefined): void {
    const alone = held.topics.length === 1;
    const of = (topic: Topic) => alone || (state && topic.id === idOf(state));
    // A project's cursor is one number, and that of several executions has one for each.
    const positions = cursor?.split(',') ?? [];
    const fits = positions.length === held.topics.length;
    const wasSettled = held.topics.every((topic) => topic.position);
    held.topics.forEach((topic, index) => {
      const states = state && of(topic) ? [state] : [];
      const position = fits ? positions[index] : undefined;
      if (states.length || (position && position !== topic.position)) {
        this.#owner.onUpdate({ key: topic.key, states, position });
      }
    });
    if (!wasSettled && cursor) this.#owner.schedule();
    // One that is stale was heard of long ago, and that was no time on its way.
    if (state && 'occurredAt' in state && state.occurredAt && !state.stale) {
      const occurredAt = Date.parse(state.occurredAt);
      // What happened before the stream was opened says nothing about delivery.
      if (occurredAt >= held.stream.openedAt) {
        this.#latencyMs = Math.max(0, Date.now() - occurredAt);
        this.#changed();
      }
    }
  }

  #finish(held: Held, over: Over): void {
    this.#held.delete(held);
    this.#last = over.error ? 'failed' : 'ended';
    for (const { key } of held.topics) this.#owner.onUpdate({ key, states: [], ...over });
    this.#changed();
  }

  #halve(held: Held): void {
    // What was to replace it carries that id, too.
    for (const other of this.#held) if (other.replaces.includes(held)) this.#drop(other);
    this.#drop(held);
    this.#open(held.family, held.topics, Math.ceil(held.topics.length / 2));
  }

  #replace(held: Held): void {
    for (const replaced of held.replaces.splice(0)) this.#drop(replaced);
  }

  #drop(held: Held): void {
    if (!this.#held.delete(held)) return;
    this.#reconnects += held.stream.reconnects;
    held.stream.close();
    this.#last = 'idle';
  }

  #changed(): void {
    const streams = [...this.#held].filter((held) => !held.replaces.length).map((held) => held.stream);
    const states = streams.map((stream) => stream?.state);
    const worst = (['reconnecting', 'open', 'connecting'] as const).find((state) => states.includes(state));
    this.#owner.onConnection({
      state: worst ?? this.#last,
      reconnects: streams.reduce((sum, stream) => sum + (stream?.reconnects ?? 0), this.#reconnects),
      latencyMs: this.#latencyMs,
    });
  }
}
