import { useEffect, useMemo, useSyncExternalStore } from 'react';
import {
  type Client,
  type ConnectionSnapshot,
  type JobState,
  type QueueStats,
  type RunSnapshot,
  type TestState,
  type Watch,
  type WatchOptions,
  watchRun,
} from '../client/index.ts';
import { useRuncast } from './context.ts';
import { RunsStore } from './runs.ts';
import { nothing, type Store, storeOf, type Watched, type WatchedOptions, WatchStore } from './store.ts';

/** The id of what is watched; without one, nothing is. */
export type MaybeId = string | null | undefined;

const none = storeOf(nothing);

export const useStore = <T>(store: Store<T>): T =>
  useSyncExternalStore(store.subscribe, store.snapshot, store.initial);

/** `watch` is the same at each rendering. */
function useWatched<S>(
  id: MaybeId,
  watch: (client: Client, id: string, options: WatchOptions<S>) => Watch<S>,
  initialState: S | undefined,
): Watched<S> {
  const client = useRuncast();
  // biome-ignore lint/correctness/useExhaustiveDependencies: the initial state is that of the first rendering.
  const store = useMemo(
    () => (id == null ? none : new WatchStore<S>((options) => watch(client, id, options), initialState)),
    [client, id, watch],
  );
  return useStore<Watched<S>>(store);
}

/** A test execution. */
export function useTestStatus(
  testId: MaybeId,
  { initialState }: WatchedOptions<TestState> = {},
): Watched<TestState> {
  return useWatched(testId, watchTest, initialState);
}

const watchTest = (client: Client, id: string, options: WatchOptions<TestState>) =>
  client.watchTest(id, options);

/** A job run, without its tests. */
export function useJobRun(
  runId: MaybeId,
  { initialState }: WatchedOptions<JobState> = {},
): Watched<JobState> {
  return useWatched(runId, watchJobRun, initialState);
}

const watchJobRun = (client: Client, id: string, options: WatchOptions<JobState>) =>
  client.watchJobRun(id, options);

/** A job run with all its tests, whether it goes on or has ended long ago. */
export function useRun(
  runId: MaybeId,
  { initialState }: WatchedOptions<RunSnapshot> = {},
): Watched<RunSnapshot> {
  return useWatched(runId, watchRun, initialState);
}

/** Job runs, by their ids. One that the server refuses does not keep the others from being watched. */
export function useJobRuns(runIds: readonly string[]): ReadonlyMap<string, Watched<JobState>> {
  const client = useRuncast();
  const store = useMemo(() => new RunsStore(client), [client]);
  const known = useStore(store);
  const ids = [...new Set(runIds)].join();
  useEffect(() => store.watch(ids.split(',').filter(Boolean)), [store, ids]);
  return useMemo(
    () =>
      new Map(
        ids
          .split(',')
          .filter(Boolean)
          .map((id) => [id, known.get(id) ?? nothing]),
      ),
    [ids, known],
  );
}

/** The statistics of the queues. */
export function useQueueStats({ initialState }: WatchedOptions<QueueStats> = {}): Watched<QueueStats> {
  return useWatched('', watchQueueStats, initialState);
}

const watchQueueStats = (client: Client, _: string, options: WatchOptions<QueueStats>) =>
  client.watchQueueStats(options);

const unconnected: ConnectionSnapshot = { state: 'idle', reconnects: 0, latencyMs: null, lastError: null };

/** How the client stands with the server. */
export function useConnection(): ConnectionSnapshot {
  const { connection } = useRuncast();
  return useSyncExternalStore(
    connection.subscribe,
    () => connection.snapshot,
    () => unconnected,
  );
}
