import type { Refusal } from './error.ts';
import { openStream, type Stream, type StreamSettings } from './stream.ts';
import { type AnyState, isOver, MAX_PARTS, type Over, type Topic, type TopicUpdate } from './topic.ts';
import type { ConnectionSnapshot, ConnectionState, State } from './types.ts';

/** Whom a registry serves. */
export interface RegistryOwner {
  readonly settings: StreamSettings;
  /** What is watched. */
  readonly topics: ReadonlyMap<string, Topic>;
  onUpdate(update: TopicUpdate): void;
  onConnection(connection: ConnectionSnapshot): void;
  /** Asks for {@link Registry.reconcile} soon, once for all that happens until then. */
  schedule(): void;
}

/** The streams of a client, or of all tabs that share one: one for each function, and for each fifty parts of it. */
export interface Registry {
  /**
   * Makes the streams fit what is watched. Topics that have just come get a stream of their own; once it has told their
   * states, and so has a cursor, it is merged with others: these go on until the merged stream is open, whose cursor has
   * a part for each, so that nothing is lost or late, and what comes twice is told once.
   *
   * A browser opens six HTTP/1.1 connections to a server, for all tabs. There are three functions, so three streams stay.
   * Beyond these there is one for new topics at a time, and another to merge: five at most, and always a connection for
   * requests. What is more than fifty parts, or cannot be merged, is not counted.
   */
  reconcile(): void;
  /** The page woke up. */
  wake(): void;
  /** Ends every stream. */
  close(): void;
  /** Whether a stream carries it. */
  carries(topic: Topic): boolean;
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
const isMixed = ({ topics }: Held): boolean => !!topics[1] && topics.some((topic) => topic.isProject);

/** With how many others it is asked for: without a cursor, each state has to say by itself whose it is. */
const mostWith = ({ isProject, position, most }: Topic): number => (isProject && !position ? 1 : most || 1);

export function createRegistry(owner: RegistryOwner): Registry {
  const all = new Set<Held>();
  let reconnects = 0;
  let latencyMs: number | null = null;
  /** How the last stream ended, which is how the client stands when there is none. */
  let last: ConnectionState = 'idle';
  let lastError: Refusal | undefined;

  const isLive = (topic: Topic) => owner.topics.get(topic.key) === topic && !isOver(topic);

  const carries = (topic: Topic) => [...all].some((held) => held.topics.includes(topic));

  const isBusy = ({ topics, stream }: Held) =>
    !topics[MAX_PARTS - 1] &&
    topics[0]?.most &&
    // One that waits for its next try has no connection, and must not be in the way of others.
    stream.state !== 'reconnecting';

  const heldOf = (service: string) => [...all].filter((held) => held.service === service);

  /** How many streams there are beyond one for each function. */
  const more = () => {
    const busy = [...all].filter(isBusy);
    return busy.length - new Set(busy.map(({ service }) => service)).size;
  };

  const drop = (held: Held) => {
    if (!all.delete(held)) return;
    held.stream.close();
    last = 'idle';
    // What waits may have its turn.
    owner.schedule();
  };

  const changed = () => {
    const streams = [...all].filter(({ replaces }) => !replaces[0]).map(({ stream }) => stream);
    const states = (['reconnecting', 'open', 'connecting'] as const).filter((state) =>
      streams.some((stream) => stream.state === state),
    );
    owner.onConnection({
      state: states[0] ?? last,
      reconnects,
      latencyMs,
      lastError: streams.find(({ error }) => error)?.error ?? lastError ?? null,
    });
  };

  const onFrame = (held: Held, state: State | undefined, cursor: string | undefined) => {
    const { topics, stream } = held;
    const before = held.positions;
    const positions = cursor?.split(',') ?? [];
    const isCursor = positions.length === topics.length;
    const isMoved = (index: number) => isCursor && positions[index] !== before[index];
    // An event moves the part that it belongs to. What moves none, as at the beginning, says by itself whose it is.
    const isEvent = before[0] && positions.some((_, index) => isMoved(index));
    topics.forEach((topic, index) => {
      const isMine = isEvent ? isMoved(index) : !topics[1] || (state && topic.owns(state));
      const states = state && isMine ? [state] : [];
      const position = isMoved(index) ? positions[index] : undefined;
      if (states[0] || position) owner.onUpdate({ key: topic.key, states, position });
    });
    if (isCursor) {
      held.positions = positions;
      // Now it may be merged with others.
      if (!before[0]) owner.schedule();
    }
    // One that is stale was heard of long ago, and that was no time on its way.
    const { occurredAt, stale } = (state ?? {}) as AnyState;
    const sentAt = Date.parse(`${occurredAt}`);
    // What happened before the stream was opened says nothing about delivery.
    if (!stale && sentAt >= stream.openedAt) {
      latencyMs = Math.max(0, Date.now() - sentAt);
      changed();
    }
  };

  const onOver = (held: Held, over: Over) => {
    const { topics } = held;
    const { end, error } = over;
    if (error && held.replaces[0]) {
      // Those that it was to replace go on.
      for (const topic of topics) topic.most = 0;
      drop(held);
    } else if (topics[1] && (end === 'closed' || error?.status === 400 || error?.status === 404)) {
      // One id that is not ours costs all others their stream: find out which. What was to replace it has it, too.
      for (const other of all) if (other.replaces.includes(held)) drop(other);
      for (const topic of topics) topic.most = Math.ceil(topics.length / 2);
      drop(held);
    } else {
      all.delete(held);
      last = error ? 'failed' : 'ended';
      lastError = error;
      for (const { key } of topics) owner.onUpdate({ key, states: [], ...over });
      changed();
      owner.schedule();
    }
  };

  const hold = (topics: Topic[], replaces: Held[] = []) => {
    const [{ service }] = topics as [Topic];
    const held = { topics, service, positions: [], replaces } as unknown as Held;
    const isHeld = () => all.has(held);
    all.add(held);
    held.stream = openStream(owner.settings, service, {
      request() {
        // What is over or no longer watched leaves when the stream is opened again.
        held.topics = held.topics.filter(isLive);
        const positions = held.topics.map(({ position }) => position ?? '');
        held.positions = positions.every(Boolean) ? positions : [];
        if (!isHeld() || !held.topics[0] || (!held.positions[0] && isMixed(held))) {
          all.delete(held);
          owner.schedule();
          return undefined;
        }
        const query = held.topics.map(({ part }) => part).join('&');
        return [query && `?${query}`, held.positions.join()];
      },
      onFrame: (state, cursor) => isHeld() && onFrame(held, state, cursor),
      onReset() {
        if (!isHeld()) return;
        held.positions = [];
        for (const { key } of held.topics) owner.onUpdate({ key, states: [], reset: true });
        // Each is asked for by itself.
        if (isMixed(held)) drop(held);
      },
      onOver: (over) => isHeld() && onOver(held, over),
      onChange() {
        if (!isHeld()) return;
        if (held.stream.state === 'open') {
          held.replaces.splice(0).forEach(drop);
          lastError = undefined;
        } else if (!held.replaces[0]) reconnects += 1;
        changed();
        // It may be merged with others now, or others may have its place.
        owner.schedule();
      },
    });
  };

  /** Opens what can be asked for on one stream, unless it has to wait. */
  const open = (topics: Topic[], waits: () => unknown) => {
    topics.sort((one, other) => mostWith(one) - mostWith(other));
    for (let [first] = topics; first && !waits(); [first] = topics) hold(topics.splice(0, mostWith(first)));
  };

  const merge = (service: string) => {
    const mine = heldOf(service);
    // A merge may take long, as where the server asks for a wait.
    if (mine.some(({ replaces }) => replaces[0])) return;
    const topics: Topic[] = [];
    const merged = mine.filter((held) => {
      const live = held.topics.filter(isLive);
      const count = topics.length + live.length;
      const fits =
        held.stream.state === 'open' &&
        live.every(({ position, most }) => position && most) &&
        live.length < MAX_PARTS &&
        count <= MAX_PARTS;
      if (fits) topics.push(...live);
      return fits;
    });
    if (merged[1]) hold(topics, merged);
  };

  return {
    carries,
    reconcile() {
      for (const held of all) if (!held.topics.some(isLive)) drop(held);
      const live = [...owner.topics.values()].filter(isLive);
      for (const service of new Set(live.map((topic) => topic.service))) {
        const fresh = live.filter((topic) => topic.service === service && !carries(topic));
        if (more() < 2) merge(service);
        // After another tab's end, what has a cursor goes on from it.
        open(
          fresh.filter(({ position }) => position),
          () => false,
        );
        open(
          fresh.filter(({ position }) => !position),
          () => heldOf(service)[0] && more(),
        );
      }
      changed();
    },
    wake() {
      for (const { stream } of all) stream.wake();
    },
    close() {
      all.forEach(drop);
    },
  };
}
