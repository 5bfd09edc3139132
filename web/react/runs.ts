import type { Client, JobState } from '../client/index.ts';
import { type Store, type Watched, WatchStore } from './store.ts';

const noRuns: ReadonlyMap<string, Watched<JobState>> = new Map();

/** Job runs as one store: those that it is told to watch, while somebody is subscribed. */
export class RunsStore implements Store<ReadonlyMap<string, Watched<JobState>>> {
  readonly #client: Client;
  readonly #listeners = new Set<() => void>();
  readonly #stores = new Map<string, { store: WatchStore<JobState>; leave: () => void }>();
  #ids: readonly string[] = [];
  #snapshot = noRuns;

  constructor(client: Client) {
    this.#client = client;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    this.#fit();
    return () => {
      this.#listeners.delete(listener);
      this.#fit();
    };
  };

  readonly snapshot = (): ReadonlyMap<string, Watched<JobState>> => this.#snapshot;

  readonly initial = (): ReadonlyMap<string, Watched<JobState>> => noRuns;

  /** Watches these, and no others. */
  watch(ids: readonly string[]): void {
    this.#ids = ids;
    this.#fit();
  }

  #fit(): void {
    const wanted = this.#listeners.size ? this.#ids : [];
    for (const id of wanted) {
      if (this.#stores.has(id)) continue;
      const store = new WatchStore<JobState>((options) => this.#client.watchJobRun(id, options));
      this.#stores.set(id, { store, leave: store.subscribe(() => this.#changed(id, store)) });
    }
    for (const [id, { leave }] of this.#stores) {
      if (wanted.includes(id)) continue;
      leave();
      this.#stores.delete(id);
    }
  }

  #changed(id: string, store: WatchStore<JobState>): void {
    this.#snapshot = new Map(this.#snapshot).set(id, store.snapshot());
    for (const listener of [...this.#listeners]) listener();
  }
}
