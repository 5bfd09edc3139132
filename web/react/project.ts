import { useMemo } from 'react';
import {
  type Client,
  isTerminal,
  type JobState,
  listRuns,
  type RuncastError,
  type Status,
  type TestState,
} from '../client/index.ts';
import { batched } from './batch.ts';
import { useRuncast } from './context.ts';
import { type MaybeId, useStore } from './hooks.ts';
import { read } from './read.ts';
import { LiveStore, storeOf } from './store.ts';

/** How many executions that ended are kept of what was only seen live. */
const MAX_FINISHED = 200;

export interface ProjectRunsOptions {
  /** Only those that stand so; any of these. */
  status?: Status | readonly Status[] | undefined;
  /** Only those with this in their id, name or labels, in any case. */
  search?: string | undefined;
  /** How many that have ended are read at a time, 1 to 200; otherwise 50. */
  limit?: number | undefined;
}

/** The runs of a project; never mutated. */
export interface ProjectRuns {
  /** First those not finished, the one that started last first, and then those that ended last. */
  readonly runs: readonly JobState[];
  /** Whether the first page is still to come: only then an empty list is empty. */
  readonly isLoading: boolean;
  readonly isLoadingMore: boolean;
  /** Whether there are others, which ended earlier. */
  readonly hasMore: boolean;
  /** Why there are none, or none of another page; temporary errors pass by themselves. */
  readonly error: RuncastError | undefined;
  readonly loadMore: () => void;
  /** Begins again, as after an error. */
  readonly retry: () => void;
}

const noRuns: ProjectRuns = {
  runs: [],
  isLoading: false,
  isLoadingMore: false,
  hasMore: false,
  error: undefined,
  loadMore: () => {},
  retry: () => {},
};

const noRunsStore = storeOf(noRuns);

/** The runs of a project: past ones a page at a time, and all that happens from now on. */
export function useProjectRuns(
  projectId: MaybeId,
  { status = [], search = '', limit }: ProjectRunsOptions = {},
): ProjectRuns {
  const client = useRuncast();
  const statuses = [status].flat().toSorted().join();
  const store = useMemo(() => {
    if (projectId == null) return noRunsStore;
    return new ProjectRunsStore(
      client,
      projectId,
      statuses.split(',').filter(Boolean) as Status[],
      search,
      limit,
    );
  }, [client, projectId, statuses, search, limit]);
  return useStore<ProjectRuns>(store);
}

class ProjectRunsStore extends LiveStore<ProjectRuns> {
  readonly #client: Client;
  readonly #projectId: string;
  readonly #statuses: readonly Status[];
  readonly #search: string;
  readonly #limit: number | undefined;
  /** What was read, and what the stream told since, by run. */
  readonly #read = new Map<string, JobState>();
  readonly #live = new Map<string, JobState>();
  #next: string | null = null;
  #reading: AbortController | undefined;
  /** What a page that was read changes, told with its runs. */
  #loaded: Partial<ProjectRuns> = {};

  constructor(
    client: Client,
    projectId: string,
    statuses: readonly Status[],
    search: string,
    limit: number | undefined,
  ) {
    // Its own methods are not there yet.
    const more = { load: () => {} };
    super({ ...noRuns, loadMore: () => more.load() });
    more.load = () => this.#loadMore();
    this.#client = client;
    this.#projectId = projectId;
    this.#statuses = statuses;
    this.#search = search.toLowerCase();
    this.#limit = limit;
  }

  protected start(signal: AbortSignal): void {
    signal.addEventListener('abort', () => {
      this.#reading?.abort();
      this.#reading = undefined;
    });
    this.#client.watchProject(
      { projectId: this.#projectId, kind: 'job' },
      {
        onState: (run) => {
          this.#live.delete(run.runId);
          this.#live.set(run.runId, run);
          this.#changed();
        },
        onReset: () => {
          this.#live.clear();
          void this.#load();
        },
        onError: (error) => this.set({ error, isLoading: false }),
        signal,
      },
    );
    void this.#load();
  }

  #loadMore(): void {
    if (this.#next !== null && !this.#reading) void this.#load(this.#next);
  }

  /** Reads a page, and others where that has none of those that are searched for. */
  async #load(before?: string): Promise<void> {
    this.#reading?.abort();
    const reading = new AbortController();
    this.#reading = reading;
    if (before !== undefined) this.set({ isLoadingMore: true });
    let next: string | undefined = before;
    for (let isFirst = before === undefined; ; isFirst = false) {
      const query = {
        projectId: this.#projectId,
        status: this.#statuses,
        search: this.#search || undefined,
        limit: this.#limit,
        before: next,
      };
      const page = await read(
        (signal) => listRuns(this.#client, { ...query, signal }),
        reading.signal,
        (error) => this.set({ error }),
      );
      if (reading.signal.aborted) return;
      if (page && isFirst) this.#read.clear();
      for (const run of page?.runs ?? []) this.#read.set(run.runId, run);
      if (page) this.#next = page.next;
      if (page?.runs.length || !page?.next) {
        const error = page ? undefined : this.snapshot().error;
        this.#reading = undefined;
        this.#loaded = { isLoading: false, isLoadingMore: false, error };
        return this.#changed.now();
      }
      next = page.next;
    }
  }

  readonly #changed = batched(() => {
    const all = new Map(this.#read);
    for (const run of this.#live.values()) {
      const { seq = -1 } = all.get(run.runId) ?? {};
      if (run.seq > seq) all.set(run.runId, run);
    }
    const matching = [...all.values()].filter((run) => this.#matches(run));
    const running = matching.filter(({ status }) => !isTerminal(status));
    const ended = matching.filter(({ status }) => isTerminal(status));
    // Of earlier ones not all are known.
    const read =
      this.#next === null ? [] : [...this.#read.values()].filter(({ status }) => isTerminal(status));
    const last = read.map(endOf).toSorted()[0] ?? '';
    this.set({
      ...this.#loaded,
      runs: [
        ...running.toSorted((one, other) => compare(startOf(other), startOf(one))),
        ...ended
          .filter((run) => this.#read.has(run.runId) || endOf(run) >= last)
          .toSorted((one, other) => compare(endOf(other), endOf(one))),
      ],
      hasMore: this.#next !== null,
    });
    this.#loaded = {};
    this.#forget();
  });

  #matches({ runId, name, labels, status }: JobState): boolean {
    if (this.#statuses.length && !this.#statuses.includes(status)) return false;
    // As the server does.
    const text = [runId, name, labels && JSON.stringify(labels)].filter(Boolean).join(' ');
    return text.toLowerCase().includes(this.#search);
  }

  /** A page that is open for weeks must not keep all that it has seen. */
  #forget(): void {
    const ended = [...this.#live.values()].filter(({ status }) => isTerminal(status));
    for (const { runId } of ended.slice(0, -MAX_FINISHED)) {
      const run = this.#live.get(runId);
      if (run && this.#read.has(runId)) this.#read.set(runId, run);
      this.#live.delete(runId);
    }
  }
}

const compare = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0);

/** Times of the server are texts of one form, so that their order is that of the alphabet. */
const startOf = ({ startedAt, occurredAt }: JobState): string => startedAt ?? occurredAt ?? '';
const endOf = ({ completedAt, occurredAt }: JobState): string => completedAt ?? occurredAt ?? '';

/** The tests of a project; never mutated. */
export interface ProjectTests {
  /** Those not finished and those that ended last, the one that changed last first. */
  readonly tests: readonly TestState[];
  readonly isLoading: boolean;
  readonly error: RuncastError | undefined;
  readonly retry: () => void;
}

const noTests: ProjectTests = { tests: [], isLoading: false, error: undefined, retry: () => {} };

const noTestsStore = storeOf(noTests);

/** The tests of a project, of whatever run: those not finished, those that ended last, and all that happens from now on. */
export function useProjectTests(projectId: MaybeId): ProjectTests {
  const client = useRuncast();
  const store = useMemo(
    () => (projectId == null ? noTestsStore : new ProjectTestsStore(client, projectId)),
    [client, projectId],
  );
  return useStore<ProjectTests>(store);
}

class ProjectTestsStore extends LiveStore<ProjectTests> {
  readonly #client: Client;
  readonly #projectId: string;
  /** Who changed last stands last. */
  readonly #tests = new Map<string, TestState>();

  constructor(client: Client, projectId: string) {
    super(noTests);
    this.#client = client;
    this.#projectId = projectId;
  }

  protected start(signal: AbortSignal): void {
    this.#client.watchProject(
      { projectId: this.#projectId, kind: 'test' },
      {
        onState: (test) => {
          this.#tests.delete(test.testId);
          this.#tests.set(test.testId, test);
          this.#changed();
        },
        onReset: () => {
          this.#tests.clear();
          this.#changed();
        },
        onError: (error) => this.set({ error, isLoading: false }),
        onCurrent: () => this.#changed.now(),
        signal,
      },
    );
  }

  readonly #changed = batched(() => {
    const ended = [...this.#tests.values()].filter(({ status }) => isTerminal(status));
    for (const { testId } of ended.slice(0, -MAX_FINISHED)) this.#tests.delete(testId);
    this.set({ tests: [...this.#tests.values()].reverse(), isLoading: false });
  });
}
