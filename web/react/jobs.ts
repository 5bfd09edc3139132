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
import { type Client, isTerminal, type JobState, type RuncastError, type Watch } from '../client/index.ts';
import { useRuncast } from './context.ts';

/** The job runs of a project; never mutated. */
export interface Jobs {
  /** Those not finished. */
  readonly running: ReadonlyMap<string, JobState>;
  readonly isAnyJobRunning: boolean;
  /** Why the server will not serve them. */
  readonly error: RuncastError | undefined;
}

const noJobs: Jobs = { running: new Map(), isAnyJobRunning: false, error: undefined };

/** The job runs of a project as an external store. It outlives its components, to know what it has told. */
class JobsStore {
  readonly #client: Client;
  readonly #projectId: string;
  readonly #listeners = new Set<() => void>();
  readonly #completions = new Set<(run: JobState) => void>();
  #jobs = noJobs;
  #watch: Watch<JobState> | undefined;

  constructor(client: Client, projectId: string) {
    this.#client = client;
    this.#projectId = projectId;
  }

  readonly snapshot = (): Jobs => this.#jobs;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    this.#watch ??= this.#client.watchProject(
      { projectId: this.#projectId, kind: 'job' },
      {
        onState: (run) => this.#take(run),
        onError: (error) => this.#set({ ...this.#jobs, error }),
      },
    );
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size) return;
      this.#watch?.close();
      this.#watch = undefined;
    };
  };

  /** Calls back with each run that finishes; returns what ends that. */
  readonly onComplete = (complete: (run: JobState) => void): (() => void) => {
    this.#completions.add(complete);
    return () => {
      this.#completions.delete(complete);
    };
  };

  #take(run: JobState): void {
    const running = new Map(this.#jobs.running);
    if (!isTerminal(run.status)) running.set(run.runId, run);
    // Finished when first seen, or told before.
    else if (!running.delete(run.runId)) return;
    this.#set({ running, isAnyJobRunning: running.size > 0, error: undefined });
    if (isTerminal(run.status)) for (const complete of [...this.#completions]) complete(run);
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
   * nothing was mounted, but not for one that was finished when it was first seen.
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
