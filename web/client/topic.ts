import type { Refusal } from './request.ts';
import type { JobState, TestState } from './schema.ts';
import { isTerminal } from './status.ts';
import type { State, WatchEnd } from './types.ts';

/** How many finished executions of a project are remembered for who comes later: more than the server begins with. */
const MAX_FINISHED = 50;

/** How many parts one stream has; the server refuses more. */
export const MAX_PARTS = 50;

/** For how long the server waits for the tests of a run that has ended, in milliseconds. */
export const SETTLE_MS = 10_000;

/** What has ended may have been opened again since: the event that says so comes right behind, in milliseconds. */
const QUIET_MS = 500;

/** Why nothing follows: it came to its end, or the server will never serve it. */
export interface Over {
  end?: WatchEnd | undefined;
  error?: Refusal | undefined;
}

/** What happened on a topic; goes from the tab that holds the streams to all others. */
export interface TopicUpdate extends Over {
  key: string;
  states: State[];
  /** The topic's part of the stream's cursor, once it is known. */
  position?: string | undefined;
  /** The cursor was of no use: what is known so far no longer holds. */
  reset?: boolean;
}

/** What any state may have. */
type AnyState = Partial<Omit<JobState, 'kind' | 'runId'> & Omit<TestState, 'kind'>>;

/** An execution's id, as its state tells it; empty for statistics. */
export const idOf = ({ testId, runId }: AnyState): string => testId ?? runId ?? '';

/** One thing that can be watched, such as a job run, or all tests of one: what is known of it, and where its cursor stands. */
export class Topic {
  /** The function that serves it, a question mark, and the part of the query that asks for it: `job-status?runId=r`. */
  readonly key: string;
  readonly service: string;
  readonly part: string;
  /** By execution. */
  readonly states = new Map<string, State>();
  position: string | undefined;
  /** With how many others it may be asked for: fewer, where one of them may be what was refused. */
  most = MAX_PARTS;
  end: WatchEnd | undefined;
  error: Over['error'];
  /** What the part asks for, which is also the field of its states that says whose they are, and the id. */
  readonly #field: string;
  readonly #id: string;
  /** Those of its executions that have ended; who ended last stands last. */
  readonly #finished = new Set<string>();

  constructor(key: string) {
    this.key = key;
    const [service = '', field = ''] = key.split(/[?=]/, 2);
    this.service = service;
    this.part = key.slice(service.length + 1);
    this.#field = field;
    this.#id = this.part.slice(field.length + 1);
    if (this.part && !/^[\w-]{1,128}$/.test(this.#id)) {
      this.error = { status: 400, message: `Not an id: ${this.#id}` };
    }
  }

  get isOver(): boolean {
    return !!(this.end || this.error);
  }

  /** Whether it is all of a project, whose states do not say that they are part of it. */
  get isProject(): boolean {
    return this.#field === 'projectId';
  }

  /** Whether it is one execution, and not all of a project, or all tests of a run. */
  get isOne(): boolean {
    return this.#field === (this.service === 'job-status' ? 'runId' : 'testId');
  }

  /** Whether that state is one of its own, as far as it says so. */
  owns(state: State): boolean {
    return (state as unknown as Record<string, unknown>)[this.#field] === this.#id;
  }

  /** Takes an update in; returns the states that are new, each once and none older than what was there. */
  take(update: TopicUpdate): State[] {
    if (update.reset) {
      this.states.clear();
      this.#finished.clear();
      this.position = undefined;
    }
    const news = update.states.filter((state) => this.#isNew(state));
    this.position = update.position ?? this.position;
    this.end ??= update.end;
    this.error ??= update.error;
    return news;
  }

  /**
   * For how long, in milliseconds, it has to be silent to count as over; for ever where it has not ended. A stream that
   * carries others, too, only says when all of them are over.
   */
  get quietMs(): number {
    const [state] = this.states.values();
    // Of a run's tests there may be others, as long as it goes on itself.
    if (!state || !this.isOne || !this.#finished.size) return Number.POSITIVE_INFINITY;
    const { tests } = state as AnyState;
    return tests && tests.waiting + tests.running > 0 ? SETTLE_MS : QUIET_MS;
  }

  #isNew(state: State): boolean {
    // Statistics have no `seq`: each is new.
    const { seq = 0, status } = state as AnyState;
    const id = idOf(state as AnyState);
    const { seq: before = -1 } = (this.states.get(id) ?? {}) as AnyState;
    if (seq <= before) return false;
    // What changed last stands last.
    if (this.isProject) this.states.delete(id);
    this.states.set(id, state);
    this.#finished.delete(id);
    if (status && isTerminal(status)) this.#finished.add(id);
    if (this.isProject && this.#finished.size > MAX_FINISHED) {
      const [oldest = ''] = this.#finished;
      this.#finished.delete(oldest);
      this.states.delete(oldest);
    }
    return true;
  }
}
