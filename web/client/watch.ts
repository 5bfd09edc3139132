import { call } from './call.ts';
import { RuncastError } from './error.ts';
import type { Topic } from './topic.ts';
import type { Connection, State, Watch, WatchOptions } from './types.ts';

/** What makes one thing of all that a watch gets. */
export interface View<S> {
  /** What was told last. */
  readonly snapshot: S | undefined;
  take(state: State): void;
  /** What was known of it no longer holds. */
  reset(topic: Topic): void;
  /** Looks whether there is something to tell, now or later. */
  touch(): void;
  /** Tells all that there is. */
  flush(): void;
  /** Tells nothing more. */
  close(): void;
}

/** A watch on one or several topics, until all of them are over or one has failed. */
export class Watching<S> implements Watch<S> {
  readonly topics: readonly Topic[];
  readonly #options: WatchOptions<S>;
  readonly #release: () => void;
  readonly #view: View<S> | undefined;
  /** What gets each state: the iterators. */
  readonly #sinks = new Set<(state?: S) => void>();
  /** States are delivered from the next microtask on, so that the caller has the watch before its first state. */
  #begun = false;
  #over = false;
  /** Whether all that there is has been told. */
  #current = false;
  /** Runs while all that it watches has ended, and the streams have not said that nothing follows. */
  #quiet: ReturnType<typeof setTimeout> | undefined;
  #error: RuncastError | undefined;
  #unsubscribe: (() => void) | undefined;

  constructor(
    topics: readonly Topic[],
    options: WatchOptions<S>,
    connection: Connection,
    release: () => void,
    viewOf?: (tell: (state: S) => void) => View<S>,
  ) {
    this.topics = topics;
    this.#options = options;
    this.#release = release;
    this.#view = viewOf?.((state) => this.#tell(state));
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
    if (this.#view) this.#view.take(state);
    else this.#tell(state as S);
  }

  #tell(state: S): void {
    call(() => this.#options.onState?.(state));
    for (const sink of this.#sinks) sink(state);
  }

  /** What was known of its topic no longer holds. */
  reset(topic: Topic): void {
    if (!this.#begun || this.#over) return;
    this.#view?.reset(topic);
    this.#current = false;
    // Of several, each state tells by itself which it replaces.
    if (this.#view || !this.topics[1]) call(() => this.#options.onReset?.());
  }

  /** Looks whether it is over; `isQuiet`: nothing came for long enough. */
  settle(isQuiet = false): void {
    if (!this.#begun || this.#over) return;
    this.#view?.touch();
    if (!this.#current && this.topics.every(({ position }) => position)) {
      this.#current = true;
      call(() => this.#options.onCurrent?.());
    }
    clearTimeout(this.#quiet);
    const failed = this.topics.find((topic) => topic.error);
    const open = this.topics.filter((topic) => !topic.end);
    if (!failed && open[0] && !isQuiet) {
      const waits = open.map((topic) => topic.quietMs ?? Number.POSITIVE_INFINITY);
      const wait = Math.max(...waits);
      if (wait < Number.POSITIVE_INFINITY) this.#quiet = setTimeout(() => this.settle(true), wait);
      return;
    }
    this.#view?.flush();
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
    this.#view?.close();
    this.#unsubscribe?.();
    this.#options.signal?.removeEventListener('abort', this.close);
    this.#release();
    for (const sink of this.#sinks) sink();
  };

  async *[Symbol.asyncIterator](): AsyncGenerator<S, void, void> {
    const known = this.#view ? [this.#view.snapshot] : (this.#known() as unknown[] as S[]);
    const queue = this.#begun ? known.filter((state) => state !== undefined) : [];
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

  #known(): State[] {
    return this.topics.flatMap((topic) => [...topic.states.values()]);
  }
}
