import {
  createContext,
  createElement,
  type ReactNode,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useSyncExternalStore,
} from 'react';
import { call } from '../client/call.ts';
import { type Client, isTerminal, type JobState, type RuncastError } from '../client/index.ts';
import { useRuncast } from './context.ts';

/** The job runs of a project; never mutated. */
export interface Jobs {
  /** Those not finished: they run, or wait. */
  readonly running: ReadonlyMap<string, JobState>;
  readonly isAnyJobRunning: boolean;
  /** Why the server will not serve them. */
  readonly error: RuncastError | undefined;
  /** Watches them again, as after an error. */
  readonly retry: () => void;
}

/** How many of the runs that ended are remembered by their attempt. */
const MAX_ENDED = 500;

const noJobs: Jobs = { running: new Map(), isAnyJobRunning: false, error: undefined, retry: () => {} };

/** The job runs of a project as an external store. It outlives its components, to know what it has told. */
class JobsStore {
  readonly #client: Client;
  readonly #projectId: string;
  readonly #listeners = new Set<() => void>();
  readonly #completions = new Set<(run: JobState) => void>();
  #jobs: Jobs;
  /** The attempts that were seen to have ended, by run; the last of them stands last. */
  readonly #ended = new Map<string, number>();
  /** Ends what is watched. */
  #watching: AbortController | undefined;

  constructor(client: Client, projectId: string) {
    this.#client = client;
    this.#projectId = projectId;
    this.#jobs = { ...noJobs, retry: this.#retry };
  }

  readonly snapshot = (): Jobs => this.#jobs;

  readonly #retry = (): void => {
    if (!this.#watching) return;
    this.#watching.abort();
    this.#set({ ...this.#jobs, error: undefined });
    this.#watching = this.#start();
  };

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    this.#watching ??= this.#start();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size) return;
      this.#watching?.abort();
      this.#watching = undefined;
    };
  };

  /** Calls back with each run that finishes, again where it was opened again; returns what ends that. */
  readonly onComplete = (complete: (run: JobState) => void): (() => void) => {
    this.#completions.add(complete);
    return () => {
      this.#completions.delete(complete);
    };
  };

  #start(): AbortController {
    const watching = new AbortController();
    const { signal } = watching;
    if (this.#jobs.error) this.#jobs = { ...this.#jobs, error: undefined };
    this.#client.watchProject(
      { projectId: this.#projectId, kind: 'job' },
      {
        onState: (run) => this.#take(run),
        onReset: () => this.#ask(signal),
        onError: (error) => this.#set({ ...this.#jobs, error }),
        signal,
      },
    );
    this.#ask(signal);
    return watching;
  }

  /**
   * Asks for each run that is not finished, as far as is known here, by itself: one that finished while nothing was
   * watched may not be among those that the project's stream begins with.
   */
  #ask(signal: AbortSignal): void {
    for (const [id, asked] of this.#jobs.running) {
      const watch = this.#client.watchJobRun(id, {
        onState: (run) => {
          watch.close();
          // The project's stream may have told more meanwhile.
          if (this.#jobs.running.get(id) !== asked) return;
          if (isTerminal(run.status)) this.#take(run);
          // The log does not have it any more.
          else if (run.seq === 0) this.#forget(id);
        },
        onError: ({ status }) => status === 404 && this.#forget(id),
        signal,
      });
    }
  }

  #take(run: JobState): void {
    const { runId, attempt } = run;
    if (!isTerminal(run.status)) {
      this.#show(new Map(this.#jobs.running).set(runId, run));
      return;
    }
    const before = this.#ended.get(runId) ?? Number.POSITIVE_INFINITY;
    this.#ended.delete(runId);
    this.#ended.set(runId, attempt);
    for (const id of [...this.#ended.keys()].slice(0, -MAX_ENDED)) this.#ended.delete(id);
    // If not: finished when first seen, or told before. A later attempt may have begun and ended unseen.
    const isNews = this.#forget(runId) || attempt > before;
    if (isNews) for (const complete of [...this.#completions]) call(() => complete(run));
  }

  /** Returns whether it was there. */
  #forget(id: string): boolean {
    const unfinished = new Map(this.#jobs.running);
    if (!unfinished.delete(id)) return false;
    this.#show(unfinished);
    return true;
  }

  #show(unfinished: ReadonlyMap<string, JobState>): void {
    this.#set({ ...this.#jobs, running: unfinished, isAnyJobRunning: unfinished.size > 0 });
  }

  #set(jobs: Jobs): void {
    this.#jobs = jobs;
    for (const listener of [...this.#listeners]) listener();
  }
}

/** By client and project: a component that is mounted again must not be told again. */
const stores = new WeakMap<Client, Map<string, JobsStore>>();

function storeOf(client: Client, projectId: string): JobsStore {
  const projects = stores.get(client) ?? new Map<string, JobsStore>();
  stores.set(client, projects);
  const store = projects.get(projectId) ?? new JobsStore(client, projectId);
  projects.set(projectId, store);
  return store;
}

const JobsContext = createContext<Jobs | undefined>(undefined);

export interface JobProviderProps {
  projectId: string;
  /**
   * Is called once for each run that finishes, in this tab: also where it finished while the connection was lost or
   * nothing was mounted, but not for one that was finished when it was first seen. One that is opened again and
   * finishes again is told once more.
   */
  onComplete?: (run: JobState) => void;
  children?: ReactNode;
}

/** Follows all job runs of a project. */
export function JobProvider({ projectId, onComplete, children }: JobProviderProps): ReactNode {
  const client = useRuncast();
  const store = useMemo(() => storeOf(client, projectId), [client, projectId]);
  const latest = useRef(onComplete);
  useEffect(() => {
    latest.current = onComplete;
  });
  useEffect(() => store.onComplete((run) => latest.current?.(run)), [store]);
  const jobs = useSyncExternalStore(store.subscribe, store.snapshot, () => noJobs);
  return createElement(JobsContext.Provider, { value: jobs }, children);
}

/** The job runs of the {@link JobProvider} above. */
export function useJobs(): Jobs {
  const jobs = useContext(JobsContext);
  if (!jobs) throw new Error('There is no <JobProvider> above.');
  return jobs;
}
