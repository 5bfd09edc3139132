import { call } from './call.ts';
import { RuncastError } from './error.ts';
import { createFeed } from './feed.ts';
import type { Topic } from './topic.ts';
import type { Connection, State, Watch, WatchOptions } from './types.ts';

/** A watch, as the client that has it sees it. */
export interface Watching {
  readonly topics: readonly Topic[];
  /** The connection has changed. */
  tell(): void;
  deliver(state: State): void;
  /** What was known of its topic no longer holds. */
  reset(): void;
  /** Looks whether it is over; `isQuiet`: nothing came for long enough. */
  settle(isQuiet?: boolean): void;
  close(): void;
}

/** Watches one or several topics, until all of them are over or one has failed. */
export function watchTopics<S extends State>(
  topics: readonly Topic[],
  { onState, onCurrent, onReset, onEnd, onError, onConnection, signal }: WatchOptions<S>,
  connection: Connection,
  release: () => void,
): Watching & Watch<S> {
  const feed = createFeed<S>();
  /** States are delivered from the next microtask on, so that the caller has the watch before its first state. */
  let hasBegun = false;
  let isOver = !!signal?.aborted;
  /** Whether all that there is has been told. */
  let isCurrent = false;
  /** Runs while all that it watches has ended, and the streams have not said that nothing follows. */
  let quiet: ReturnType<typeof setTimeout> | undefined;
  let error: RuncastError | undefined;

  const isOn = () => hasBegun && !isOver;

  const known = () => topics.flatMap((topic) => [...topic.states.values()] as S[]);

  const watch: Watching & Watch<S> = {
    topics,
    tell() {
      if (isOn()) call(onConnection, connection.snapshot);
    },
    deliver(state) {
      if (!isOn()) return;
      call(onState, state as S);
      feed.push(state as S);
    },
    reset() {
      isCurrent = false;
      // Of several, each state tells by itself which it replaces.
      if (isOn() && !topics[1]) call(onReset);
    },
    settle(isQuiet) {
      if (!isOn()) return;
      if (!isCurrent && topics.every(({ position }) => position)) {
        isCurrent = true;
        call(onCurrent);
      }
      clearTimeout(quiet);
      const refusal = topics.find((topic) => topic.error)?.error;
      const open = topics.filter((topic) => !topic.end);
      if (!refusal && open[0] && !isQuiet) {
        const waitMs = Math.max(...open.map((topic) => topic.quietMs()));
        if (waitMs < Number.POSITIVE_INFINITY) quiet = setTimeout(watch.settle, waitMs, true);
        return;
      }
      if (refusal) error = new RuncastError(refusal);
      watch.close();
      const isClosed = topics.some(({ end }) => end === 'closed');
      if (error) call(onError, error);
      else call(onEnd, isClosed ? 'closed' : 'complete');
    },
    close() {
      if (isOver) return;
      isOver = true;
      clearTimeout(quiet);
      signal?.removeEventListener('abort', watch.close);
      release();
      feed.end(error);
    },
    [Symbol.asyncIterator]: () => feed.iterate(hasBegun ? known() : [], watch.close),
  };

  signal?.addEventListener('abort', watch.close);
  queueMicrotask(() => {
    if (isOver) return;
    hasBegun = true;
    watch.tell();
    known().forEach(watch.deliver);
    watch.settle();
  });
  return watch;
}
