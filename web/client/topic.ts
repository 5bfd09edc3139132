import type { Refusal } from './request.ts';
import { isTerminal } from './status.ts';
import type { State, WatchEnd } from './types.ts';

/** How many finished executions of a project are remembered for who comes later: more than the server begins with. */
const MAX_FINISHED = 50;

/** For how long the server waits for the tests of a run that has ended, in milliseconds. */
const SETTLE_MS = 10_000;

/** What has ended may have been opened again since: the event that says so comes right behind, in milliseconds. */
const QUIET_MS = 500;

/** Why nothing follows: it came to its end, or the server will never serve it. */
export interface Over {
  end?: WatchEnd;
  error?: Refusal;
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

/** An execution's id, as its state tells it; empty for statistics. */
export const idOf = (state: State): string =>
  ('testId' in state ? state.testId : 'runId' in state ? state.runId : '') ?? '';

/** One thing that can be watched, such as a job run, or all tests of one: what is known of it, and where its cursor stands. */
export class Topic {
  /** The function that serves it, a question mark, and the part of the query that asks for it: `job-status?runId=r`. */
  readonly key: string;
  readonly service: string;
  readonly part: string;
  /** By execution. */
  readonly states = new Map<string, State>();
  position: string | undefined;
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
      this.error = { status: 400, message: `Not an id: ${this.#id}`, problem: undefined };
    }
  }

  get isOver(): boolean {
    return !!(this.end || this.error);
  }

  /** Whether it is all of a project, whose states do not say that they are part of it. */
  get isProject(): boolean {
    return this.#field === 'projectId';
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
   * For how long, in milliseconds, it has to be silent to count as over; `undefined` where it has not ended. A stream
   * that carries others, too, only says when all of them are over.
   */
  get quietMs(): number | undefined {
    const isOpen = this.#finished.size < this.states.size;
    // All tests of a run; whether there will be others, the run itself says.
    if (this.key.startsWith('test-status?runId')) {
      return this.position ? (isOpen ? SETTLE_MS : QUIET_MS) : undefined;
    }
    const [state] = this.states.values();
    if (this.isProject || isOpen || !state) return undefined;
    const tests = 'tests' in state ? state.tests : null;
    return tests && tests.waiting + tests.running > 0 ? SETTLE_MS : QUIET_MS;
  }

  #isNew(state: State): boolean {
    const id = idOf(state);
    const known = this.states.get(id);
    if (known && seqOf(state) <= seqOf(known)) return false;
    // What changed last stands last.
    if (this.isProject) this.states.delete(id);
    this.states.set(id, state);
    this.#finished.delete(id);
    if ('status' in state && isTerminal(state.status)) this.#finished.add(id);
    if (this.isProject && this.#finished.size > MAX_FINISHED) {
      const [oldest = ''] = this.#finished;
      this.#finished.delete(oldest);
      this.states.delete(oldest);
    }
    return true;
  }
}

/** Statistics have none: each is new. */
const seqOf = (state: State): number => ('seq' in state ? state.seq : Number.NaN);
