import type { Refusal } from './request.ts';
import { Stream, type StreamSettings } from './stream.ts';
import type { Over, Topic, TopicUpdate } from './topic.ts';
import type { ConnectionSnapshot, ConnectionState, State } from './types.ts';

/** How many parts one stream has; the server refuses more. */
const MAX_PARTS = 50;
/** How many functions there are: a stream comes from one of them, so that there is at least one for each. */
const SERVICES = 3;

/** Whom a registry serves. */
export interface RegistryOwner {
  readonly settings: StreamSettings;
  /** What is watched. */
  readonly topics: ReadonlyMap<string, Topic>;
  readonly onUpdate: (update: TopicUpdate) => void;
  readonly onConnection: (connection: ConnectionSnapshot) => void;
  readonly onError: (error: Refusal) => void;
  /** Asks for {@link Registry.reconcile} soon, once for all that happens until then. */
  readonly schedule: () => void;
}

/** A stream, and the topics that it carries, in the order in which it asked for them. */
interface Held {
  topics: Topic[];
  service: string;
  stream: Stream;
  /** Where each of its parts stands; empty before it has told all states. */
  positions: string[];
  /** Those whose topics it takes over once it is open. */
  replaces: Held[];
}

/** Whether nobody could tell which of its states are a project's, where there is no cursor. */
const isMixed = ({ topics }: Held): boolean => topics.length > 1 && topics.some((topic) => topic.isProject);

/** The streams of a client, or of all tabs that share one: one for each function, and for each fifty parts of it. */
export class Registry {
  readonly #owner: RegistryOwner;
  #held = new Set<Held>();
  /** With how many others, at most, a topic may be asked for: fewer, where one of them may be what is refused. */
  readonly #suspects = new WeakMap<Topic, number>();
  /** Whose merged streams the server refused: they stay apart. */
  readonly #unmerged = new Set<string>();
  #reconnects = 0;
  #latencyMs: number | null = null;
  /** How the last stream ended, which is how the client stands when there is none. */
  #last: ConnectionState = 'idle';
  #lastError: Refusal | undefined;

  constructor(owner: RegistryOwner) {
    this.#owner = owner;
  }

  /**
   * Makes the streams fit what is watched. Topics that have just come get a stream of their own; once it has told their
   * states, and so has a cursor, it is merged with others: these go on until the merged stream is open, whose cursor has a
   * part for each, so that nothing is lost or late, and what comes twice is told once.
   *
   * A browser opens six HTTP/1.1 connections to a server, for all tabs: of what comes and is merged, some waits for its
   * turn, so that there are five streams at most, and one connection is left for requests.
   */
  reconcile(): void {
    const carried = new Set<Topic>();
    for (const held of this.#held) {
      const live = held.topics.filter((topic) => this.#isLive(topic));
      if (!live.length) this.#drop(held);
      for (const topic of live) carried.add(topic);
    }
    const live = [...this.#owner.topics.values()].filter((topic) => this.#isLive(topic));
    for (const service of new Set(live.map((topic) => topic.service))) {
      const fresh = live.filter((topic) => topic.service === service && !carried.has(topic));
      // After another tab's end, what has a cursor goes on from it.
      for (const topics of this.#group(fresh.filter((topic) => topic.position))) this.#hold(topics);
      this.#merge(service, this.#room(live, 2));
      for (const topics of this.#group(fresh.filter((topic) => !topic.position))) {
        const isFirst = ![...this.#held].some((held) => held.service === service);
        if (isFirst || this.#unmerged.has(service) || this.#room(live, 1) > 0) this.#hold(topics);
      }
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

  /** How many streams may be opened, with so many beyond those that there have to be. */
  #room(live: Topic[], more: number): number {
    let most = 0;
    for (const service of new Set(live.map((topic) => topic.service))) {
      most += Math.ceil(live.filter((topic) => topic.service === service).length / MAX_PARTS);
    }
    // One that waits for its next try has no connection, and must not be in the way of others.
    const open = [...this.#held].filter(({ stream }) => stream?.state !== 'reconnecting').length;
    return Math.max(SERVICES, most) + more - open;
  }

  /** What can be asked for on one stream: without a cursor, each state has to say by itself whose it is. */
  #group(topics: Topic[]): Topic[][] {
    const groups: Topic[][] = [];
    let most = 0;
    for (const topic of topics) {
      const group = groups.at(-1);
      most = Math.min(most, this.#mostWith(topic));
      if (group && group.length < most) group.push(topic);
      else {
        groups.push([topic]);
        most = this.#mostWith(topic);
      }
    }
    return groups;
  }

  #mostWith(topic: Topic): number {
    return topic.isProject && !topic.position ? 1 : (this.#suspects.get(topic) ?? MAX_PARTS);
  }

  #merge(service: string, room: number): void {
    const mine = [...this.#held].filter((held) => held.service === service);
    // A merge may take long, as where the server asks for a wait.
    if (room < 1 || this.#unmerged.has(service) || mine.some((held) => held.replaces.length)) return;
    const topics: Topic[] = [];
    const merged = mine.filter((held) => {
      const live = held.topics.filter((topic) => this.#isLive(topic));
      const fits =
        held.stream.state === 'open' &&
        live.length < MAX_PARTS &&
        live.every((topic) => topic.position) &&
        topics.length + live.length <= MAX_PARTS;
      if (fits) topics.push(...live);
      return fits;
    });
    if (merged.length > 1) this.#hold(topics, merged);
  }

  #hold(topics: Topic[], replaces: Held[] = []): void {
    const service = topics[0]?.service ?? '';
    const held: Held = { topics, service, stream: undefined as unknown as Stream, positions: [], replaces };
    const isHeld = () => this.#held.has(held);
    this.#held.add(held);
    held.stream = new Stream(this.#owner.settings, service, {
      request: () => {
        // What is over or no longer watched leaves when the stream is opened again.
        held.topics = held.topics.filter((topic) => this.#isLive(topic));
        const positions = held.topics.map(({ position }) => position ?? '');
        held.positions = positions.every(Boolean) ? positions : [];
        if (!isHeld() || !held.topics.length || (!held.positions.length && isMixed(held))) {
          this.#held.delete(held);
          this.#owner.schedule();
          return undefined;
        }
        const query = held.topics.map(({ part }) => part).join('&');
        return { query: query && `?${query}`, cursor: held.positions.join() };
      },
      onFrame: (state, cursor) => isHeld() && this.#frame(held, state, cursor),
      onReset: () => {
        if (!isHeld()) return;
        held.positions = [];
        for (const { key } of held.topics) this.#owner.onUpdate({ key, states: [], reset: true });
        // Each is asked for by itself.
        if (isMixed(held)) this.#drop(held);
      },
      onOver: (over) => isHeld() && this.#over(held, over),
      onError: this.#owner.onError,
      onChange: () => {
        if (!isHeld()) return;
        if (held.stream.state === 'open') {
          for (const replaced of held.replaces.splice(0)) this.#drop(replaced);
        }
        // It may be merged with others now, or others may have its place.
        this.#owner.schedule();
        this.#changed();
      },
    });
  }

  #frame(held: Held, state: State | undefined, cursor: string | undefined): void {
    const { topics } = held;
    const positions = cursor?.split(',') ?? [];
    const isMoved = (index: number) => positions[index] !== held.positions[index];
    const moves = positions.length === topics.length;
    // An event moves the part that it belongs to. What moves none, as at the beginning, says by itself whose it is.
    const tells = moves && held.positions.length > 0 && positions.some((_, index) => isMoved(index));
    topics.forEach((topic, index) => {
      const isMine = tells ? isMoved(index) : !topics[1] || (state && topic.owns(state));
      const states = state && isMine ? [state] : [];
      const position = moves && isMoved(index) ? positions[index] : undefined;
      if (states.length || position) this.#owner.onUpdate({ key: topic.key, states, position });
    });
    if (moves) {
      // Now it may be merged with others.
      if (!held.positions.length) this.#owner.schedule();
      held.positions = positions;
    }
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

  #over(held: Held, over: Over): void {
    const { topics, service } = held;
    if (over.error && held.replaces.length) {
      // Those that it was to replace go on.
      this.#unmerged.add(service);
      this.#drop(held);
      return;
    }
    // One id that is not ours costs all others their stream: find out which.
    if (topics[1] && (over.end === 'closed' || over.error?.status === 400 || over.error?.status === 404)) {
      // What was to replace it carries that id, too.
      for (const other of this.#held) if (other.replaces.includes(held)) this.#drop(other);
      for (const topic of topics) this.#suspects.set(topic, Math.ceil(topics.length / 2));
      this.#drop(held);
      return;
    }
    this.#held.delete(held);
    this.#last = over.error ? 'failed' : 'ended';
    this.#lastError = over.error;
    for (const { key } of topics) this.#owner.onUpdate({ key, states: [], ...over });
    this.#owner.schedule();
    this.#changed();
  }

  #drop(held: Held): void {
    if (!this.#held.delete(held)) return;
    this.#reconnects += held.stream.reconnects;
    held.stream.close();
    this.#last = 'idle';
    this.#lastError = undefined;
    // What waits may have its turn.
    this.#owner.schedule();
  }

  #changed(): void {
    const streams = [...this.#held].filter((held) => !held.replaces.length).map((held) => held.stream);
    const states = streams.map((stream) => stream?.state);
    const worst = (['reconnecting', 'open', 'connecting'] as const).find((state) => states.includes(state));
    this.#owner.onConnection({
      state: worst ?? this.#last,
      reconnects: streams.reduce((sum, stream) => sum + (stream?.reconnects ?? 0), this.#reconnects),
      latencyMs: this.#latencyMs,
      lastError: streams.find((stream) => stream?.error)?.error ?? this.#lastError ?? null,
    });
  }
}
