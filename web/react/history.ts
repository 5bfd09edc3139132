import { useMemo } from 'react';
import { type Client, type JobState, type RuncastError, readRunHistory } from '../client/index.ts';
import { batched } from './batch.ts';
import { useRuncast } from './context.ts';
import { type MaybeId, useStore } from './hooks.ts';
import { read } from './read.ts';
import { LiveStore, storeOf } from './store.ts';

/** The history of a run; never mutated. */
export interface RunEvents {
  /** Every state that it had, from the first that the log still has, in their order. */
  readonly events: readonly JobState[];
  /** Whether earlier ones are still to come. */
  readonly isLoading: boolean;
  readonly error: RuncastError | undefined;
  /** Begins again, as after an error. */
  readonly retry: () => void;
}

const noEvents: RunEvents = { events: [], isLoading: false, error: undefined, retry: () => {} };

const none = storeOf(noEvents);

/** Every event of a run: what was is read once, and what happens comes by the stream that all share. */
export function useRunHistory(runId: MaybeId): RunEvents {
  const client = useRuncast();
  const store = useMemo(() => (runId == null ? none : new HistoryStore(client, runId)), [client, runId]);
  return useStore<RunEvents>(store);
}

class HistoryStore extends LiveStore<RunEvents> {
  readonly #client: Client;
  readonly #runId: string;
  /** In their order, without a hole. */
  #events: JobState[] = [];
  /** What the stream told, and there may be a hole before it. */
  #told: JobState[] = [];
  #isReading = false;

  constructor(client: Client, runId: string) {
    super(noEvents);
    this.#client = client;
    this.#runId = runId;
  }

  protected start(signal: AbortSignal): void {
    this.#isReading = false;
    this.#client.watchJobRun(this.#runId, {
      onState: (run) => {
        this.#told.push(run);
        this.#follow();
      },
      onReset: () => {
        this.#events = [];
        this.#told = [];
      },
      onError: (error) => this.set({ error, isLoading: false }),
      signal,
    });
  }

  /** Takes what follows on what is there; where there is a hole, reads what is in it. */
  readonly #follow = batched(() => {
    const { signal } = this;
    if (!signal || this.#isReading) return;
    for (const run of this.#told.splice(0)) {
      const last = this.#events.at(-1)?.seq ?? 0;
      if (run.seq === last + 1) this.#events.push(run);
      else if (run.seq > last) this.#told.push(run);
    }
    const isLoading = this.#told.length > 0;
    this.set({ events: [...this.#events], isLoading });
    if (isLoading) void this.#read(signal);
  });

  async #read(signal: AbortSignal): Promise<void> {
    this.#isReading = true;
    let after = this.#events.at(-1)?.seq;
    do {
      const page = await read(
        (aborted) => readRunHistory(this.#client, this.#runId, { after, signal: aborted }),
        signal,
        (error) => this.set({ error }),
      );
      if (signal.aborted) return;
      if (!page) return this.set({ isLoading: false });
      for (const run of page.events) {
        if (run.seq > (this.#events.at(-1)?.seq ?? 0)) this.#events.push(run);
      }
      after = page.next ?? undefined;
      this.set({ events: [...this.#events], error: undefined });
    } while (after !== undefined);
    this.#isReading = false;
    // Of what came meanwhile, some was read.
    const last = this.#events.at(-1)?.seq ?? 0;
    this.#told = this.#told.filter((run) => run.seq > last);
    // Where the log lacks what the stream told, as where it was pruned, there is no more to be had.
    const [first] = this.#told;
    if (first && first.seq > last + 1) this.#events.push(this.#told.shift() as JobState);
    this.#follow.now();
  }
}
