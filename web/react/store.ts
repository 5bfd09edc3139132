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
  /** The current state; before the first came, and on the server, the `initialState`, if there is one. */
  readonly state: S | undefined;
  /** Why the server will not serve it. */
  readonly error: RuncastError | undefined;
  /** Why no other state can follow. */
  readonly end: WatchEnd | undefined;
  /** Whether the execution has ended, by its newest state: not any more, where another attempt has opened it again. */
  readonly isComplete: boolean;
  /** Watches again, as after an error or an end. */
  readonly retry: () => void;
}

export interface WatchedOptions<S> {
  /** What is shown before the first state came, as when a server has read it already. */
  initialState?: S | undefined;
}

/** What a component subscribes to. */
export interface Store<T> {
  subscribe: (listener: () => void) => () => void;
  snapshot: () => T;
  /** Before anything came, and on a server. */
  initial: () => T;
}

/** A store of what is not watched. */
export function storeOf<T>(value: T): Store<T> {
  const get = () => value;
  return { subscribe: () => () => {}, snapshot: get, initial: get };
}

/** What comes by and by, and may be refused. */
interface Live {
  readonly isLoading: boolean;
  readonly error: RuncastError | undefined;
  readonly retry: () => void;
}

/** A store that goes on while somebody is subscribed. */
export abstract class LiveStore<T extends Live> implements Store<T> {
  readonly #listeners = new Set<() => void>();
  readonly #initial: T;
  #snapshot: T;
  #life: AbortController | undefined;

  constructor(empty: T) {
    this.#initial = { ...empty, isLoading: true, retry: this.#retry };
    this.#snapshot = this.#initial;
  }

  /** Goes on until the signal. */
  protected abstract start(signal: AbortSignal): void;

  /** Of its present life; `undefined` while nobody is subscribed. */
  protected get signal(): AbortSignal | undefined {
    return this.#life?.signal;
  }

  protected set(change: Partial<T>): void {
    this.#snapshot = { ...this.#snapshot, ...change };
    for (const listener of [...this.#listeners]) listener();
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    if (!this.#life) this.#begin();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size) return;
      this.#life?.abort();
      this.#life = undefined;
    };
  };

  readonly snapshot = (): T => this.#snapshot;

  readonly initial = (): T => this.#initial;

  readonly #retry = (): void => {
    if (!this.#life) return;
    this.#life.abort();
    this.set({ error: undefined, isLoading: true } as Partial<T>);
    this.#begin();
  };

  #begin(): void {
    this.#life = new AbortController();
    this.start(this.#life.signal);
  }
}

export const nothing: Watched<never> = {
  state: undefined,
  error: undefined,
  end: undefined,
  isComplete: false,
  retry: () => {},
};

/** A watch as an external store: it runs while somebody is subscribed. */
export class WatchStore<S> implements Store<Watched<S>> {
  readonly #watch: (options: WatchOptions<S>) => Watch<S>;
  readonly #listeners = new Set<() => void>();
  readonly #initial: Watched<S>;
  #snapshot: Watched<S>;
  #running: Watch<S> | undefined;

  constructor(watch: (options: WatchOptions<S>) => Watch<S>, initialState?: S) {
    this.#watch = watch;
    const isComplete = isEnd(initialState);
    this.#initial = { ...nothing, state: initialState, isComplete, retry: this.#retry };
    this.#snapshot = this.#initial;
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

  readonly initial = (): Watched<S> => this.#initial;

  readonly #retry = (): void => {
    if (!this.#listeners.size) return;
    this.#running?.close();
    this.#set({ ...this.#snapshot, error: undefined, end: undefined });
    this.#running = this.#start();
  };

  #start(): Watch<S> | undefined {
    if (this.#snapshot.end) return undefined;
    return this.#watch({
      onState: (state) => {
        // A watch that begins again begins with the state that is shown, or has to load it first.
        const shown = this.#snapshot.state as Shown | undefined;
        const { seq, isLoading } = state as Shown;
        const isKnown = seq === undefined ? isLoading : seq === shown?.seq;
        if (shown && isKnown && !shown.isLoading && !this.#snapshot.error) return;
        this.#set({ ...this.#snapshot, state, error: undefined, end: undefined, isComplete: isEnd(state) });
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

/** An execution has a `seq`, a run with its tests says whether these are still to come. */
interface Shown {
  seq?: number;
  isLoading?: boolean;
}

/** Of a run with its tests, the run counts. */
function isEnd(state: unknown): boolean {
  const { status, run } = (state ?? {}) as { status?: Status; run?: { status: Status } };
  const its = run?.status ?? status;
  return its !== undefined && isTerminal(its);
}
