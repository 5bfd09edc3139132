import {
  isTerminal,
  type RuncastError,
  type Status,
  type Watch,
  type WatchEnd,
  type WatchOptions,
} from '../client/index.ts';

/** What a hook gets; never mutated. */
export interface Watched<S> {
  /** The current state; `undefined` before the first came, and on the server. */
  readonly state: S | undefined;
  /** Why the server will not serve it. */
  readonly error: RuncastError | undefined;
  /** Why no other state can follow. */
  readonly end: WatchEnd | undefined;
  /** Whether the execution has ended, by its newest state: not any more, where another attempt has opened it again. */
  readonly isComplete: boolean;
}

export const nothing: Watched<never> = {
  state: undefined,
  error: undefined,
  end: undefined,
  isComplete: false,
};

/** A watch as an external store: it runs while somebody is subscribed. */
export class WatchStore<S> {
  readonly #watch: (options: WatchOptions<S>) => Watch<S>;
  readonly #listeners = new Set<() => void>();
  #snapshot: Watched<S> = nothing;
  #running: Watch<S> | undefined;

  constructor(watch: (options: WatchOptions<S>) => Watch<S>) {
    this.#watch = watch;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    this.#running ??= this.#start();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size) return;
      this.#running?.close();
      this.#running = undefined;
    };
  };

  readonly snapshot = (): Watched<S> => this.#snapshot;

  #start(): Watch<S> | undefined {
    if (this.#snapshot.end) return undefined;
    return this.#watch({
      onState: (state) => {
        // A watch that begins again begins with the state that is shown.
        const shown = this.#snapshot.state as { seq?: number } | undefined;
        const { seq } = state as { seq?: number };
        if (seq !== undefined && seq === shown?.seq && !this.#snapshot.error) return;
        const { status } = state as { status?: Status };
        const isComplete = status !== undefined && isTerminal(status);
        this.#set({ state, error: undefined, end: undefined, isComplete });
      },
      onEnd: (end) => this.#set({ ...this.#snapshot, end }),
      onError: (error) => this.#set({ ...this.#snapshot, error }),
    });
  }

  #set(snapshot: Watched<S>): void {
    this.#snapshot = snapshot;
    for (const listener of [...this.#listeners]) listener();
  }
}
