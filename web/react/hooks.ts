import { useMemo, useRef, useSyncExternalStore } from 'react';
import type { Client, ConnectionSnapshot, JobState, QueueStats, TestState } from '../client/index.ts';
import { useRuncast } from './context.ts';
import { nothing, type Watched, WatchStore } from './store.ts';

const useStore = <S>(store: WatchStore<S>): Watched<S> =>
  useSyncExternalStore(store.subscribe, store.snapshot, () => nothing);

/** A test execution. */
export function useTestStatus(testId: string): Watched<TestState> {
  const client = useRuncast();
  const store = useMemo(
    () => new WatchStore<TestState>((options) => client.watchTest(testId, options)),
    [client, testId],
  );
  return useStore(store);
}

/** A job run. */
export function useJobRun(runId: string): Watched<JobState> {
  const client = useRuncast();
  return useStore(useMemo(() => runStore(client, runId), [client, runId]));
}

const runStore = (client: Client, runId: string) =>
  new WatchStore<JobState>((options) => client.watchJobRun(runId, options));

/** Job runs, by their ids. One that the server refuses does not keep the others from being watched. */
export function useJobRuns(runIds: readonly string[]): ReadonlyMap<string, Watched<JobState>> {
  const client = useRuncast();
  const known = useRef<{ client: Client; stores: Map<string, WatchStore<JobState>> }>(undefined);
  const ids = [...new Set(runIds)].join();
  const runs = useMemo(() => {
    // A run that stays in the list keeps its store, and with it what is known of it.
    const before = known.current?.client === client ? known.current.stores : undefined;
    const stores = new Map<string, WatchStore<JobState>>();
    for (const id of ids.split(',').filter(Boolean)) stores.set(id, before?.get(id) ?? runStore(client, id));
    known.current = { client, stores };
    return new RunsStore(stores);
  }, [client, ids]);
  return useSyncExternalStore(runs.subscribe, runs.snapshot, () => noRuns);
}

const noRuns: ReadonlyMap<string, Watched<JobState>> = new Map();

/** Several stores as one. */
class RunsStore {
  readonly #stores: ReadonlyMap<string, WatchStore<JobState>>;
  #snapshot: ReadonlyMap<string, Watched<JobState>>;

  constructor(stores: ReadonlyMap<string, WatchStore<JobState>>) {
    this.#stores = stores;
    this.#snapshot = this.#collect();
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    const changed = () => {
      this.#snapshot = this.#collect();
      listener();
    };
    const unsubscribe = [...this.#stores.values()].map((store) => store.subscribe(changed));
    return () => {
      for (const each of unsubscribe) each();
    };
  };

  readonly snapshot = (): ReadonlyMap<string, Watched<JobState>> => this.#snapshot;

  #collect(): ReadonlyMap<string, Watched<JobState>> {
    return new Map([...this.#stores].map(([id, store]) => [id, store.snapshot()]));
  }
}

/** The statistics of the queues. */
export function useQueueStats(): Watched<QueueStats> {
  const client = useRuncast();
  const store = useMemo(
    () => new WatchStore<QueueStats>((options) => client.watchQueueStats(options)),
    [client],
  );
  return useStore(store);
}

const unconnected: ConnectionSnapshot = { state: 'idle', reconnects: 0, latencyMs: null };

/** How the client stands with the server. */
export function useConnection(): ConnectionSnapshot {
  const { connection } = useRuncast();
  return useSyncExternalStore(
    connection.subscribe,
    () => connection.snapshot,
    () => unconnected,
  );
}
