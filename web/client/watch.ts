import { call } from './call.ts';
import { RuncastError } from './error.ts';
import type { Topic } from './topic.ts';
import type { Connection, State, Watch, WatchOptions } from './types.ts';

/** A watch on one or several topics, until all of them are over or one has failed. */
export class Watching<S extends State> implements Watch<S> {
  readonly topics: readonly Topic[];
  readonly #options: WatchOptions<S>;
  readonly #release: () => void;
  /** What gets each state: the iterators. */
  readonly #sinks = new Set<(state?: S) => void>();
  /** States are delivered from the next microtask on, so that the caller has the watch before its first state. */
  #begun = false;
  #over = false;
  /** Runs while all that it watches has ended, and the streams have not said that nothing follows. */
  #quiet: ReturnType<typeof setTimeout> | undefined;
  #error: RuncastError | undefined;
  #unsubscribe: (() => void) | undefined;

  constructor(
    topics: readonly Topic[],
    options: WatchOptions<S>,
    connection: Connection,
    release: () => void,
  ) {
    this.topics = topics;
    this.#options = options;
    this.#release = release;
    queueMicrotask(() => {
      if (this.#over) return;
      const { onConnection } = options;
      if (onConnection) {
        const tell = () => onConnection(connection.snapshot);
        call(tell);
        this.#unsubscribe = connection.subscribe(tell);
      }
      this.#begun = true;
      for (const state of this.#known()) this.deliver(state);
      this.settle();
    });
    if (options.signal?.aborted) this.#over = true;
    else options.signal?.addEventListener('abort', this.close, { once: true });
  }

  deliver(state: State): void {
    if (!this.#begun || this.#over) return;
    call(() => this.#options.onState?.(state as S));
    for (const sink of this.#sinks) sink(state as S);
  }

  /** What was known of its topic no longer holds. */
  reset(): void {
    // Of several, each state tells by itself which it replaces.
    if (this.#begun && !this.#over && !this.topics[1]) call(() => this.#options.onReset?.());
  }

  /** Looks whether it is over; `isQuiet`: nothing came for long enough. */
  settle(isQuiet = false): void {
    if (!this.#begun || this.#over) return;
    clearTimeout(this.#quiet);
    const failed = this.topics.find((topic) => topic.error);
    const open = this.topics.filter((topic) => !topic.end);
    if (!failed && open[0] && !isQuiet) {
      const waits = open.map((topic) => topic.quietMs ?? Number.POSITIVE_INFINITY);
      const wait = Math.max(...waits);
      if (wait < Number.POSITIVE_INFINITY) this.#quiet = setTimeout(() => this.settle(true), wait);
      return;
    }
    if (failed?.error) {
      const { status, message, problem } = failed.error;
      this.#error = new RuncastError(status, message, problem);
    }
    this.close();
    const isClosed = this.topics.some((topic) => topic.end === 'closed');
    call(() => {
      if (this.#error) this.#options.onError?.(this.#error);
      else this.#options.onEnd?.(isClosed ? 'closed' : 'complete');
    });
  }

  readonly close = (): void => {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#quiet);
    this.#unsubscribe?.();
    this.#options.signal?.removeEventListener('abort', this.close);
    this.#release();
    for (const sink of this.#sinks) sink();
  };

  async *[Symbol.asyncIterator](): AsyncGenerator<S, void, void> {
    const queue: S[] = this.#begun ? this.#known() : [];
    let wake: (() => void) | undefined;
    const sink = (state?: S) => {
      if (state) queue.push(state);
      wake?.();
    };
    this.#sinks.add(sink);
    try {
      for (;;) {
        for (let state = queue.shift(); state; state = queue.shift()) yield state;
        if (this.#error) throw this.#error;
        if (this.#over) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      this.#sinks.delete(sink);
      this.close();
    }
  }

  #known(): S[] {
    return this.topics.flatMap((topic) => [...topic.states.values()] as S[]);
  }
}
