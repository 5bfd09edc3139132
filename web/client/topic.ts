import { isTerminal } from './status.ts';
import type { Over } from './stream.ts';
import type { State, WatchEnd } from './types.ts';

/** How many finished executions of a project are remembered for who comes later: more than the server begins with. */
const MAX_FINISHED = 50;

/** For how long the server waits for the tests of a run that has ended, in milliseconds. */
const SETTLE_MS = 10_000;

/** What has ended may have been opened again since: the event that says so comes right behind, in milliseconds. */
const QUIET_MS = 500;

/** What a topic can be; each but `job` and `test` has a stream of its own. */
export type Family =
  | 'job'
  | 'test'
  | 'job-history'
  | 'test-history'
  | 'job-project'
  | 'test-project'
  | 'queue';

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
export function idOf(state: State): string {
  if (!('kind' in state)) return '';
  return state.kind === 'job' ? state.runId : state.testId;
}

/** One thing that can be watched, such as a job run: what is known of it, and where its cursor stands. */
export class Topic {
  readonly key: string;
  readonly family: Family;
  /** The id in its key. */
  readonly id: string;
  /** By execution. */
  readonly states = new Map<string, State>();
  position: string | undefined;
  end: WatchEnd | undefined;
  error: Over['error'];

  constructor(key: string) {
    this.key = key;
    // What follows a "#" only makes the key of a history one of its own.
    this.family = key.split(/[#:]/, 1)[0] as Family;
    this.id = key.slice(key.indexOf(':') + 1);
    if (this.family !== 'queue' && !/^[\w-]{1,128}$/.test(this.id)) {
      this.error = { status: 400, message: `Not an id: ${this.id}`, problem: undefined };
    }
    if (this.family.endsWith('history')) this.position = '0';
  }

  get isOver(): boolean {
    return !!(this.end || this.error);
  }

  /** Takes an update in; returns the states that are new, each once and none older than what was there. */
  take(update: TopicUpdate): State[] {
    if (update.reset) {
      this.states.clear();
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
    if (!this.#isOne || this.family.endsWith('history')) return undefined;
    const [state] = this.states.values();
    if (!state || !isFinished(state)) return undefined;
    const tests = 'tests' in state ? state.tests : null;
    return tests && tests.waiting + tests.running > 0 ? SETTLE_MS : QUIET_MS;
  }

  /** Whether it is about one thing, and not about all executions of a project. */
  get #isOne(): boolean {
    return !this.family.endsWith('project');
  }

  #isNew(state: State): boolean {
    const id = idOf(state);
    const known = this.states.get(id);
    if (known && seqOf(state) <= seqOf(known)) return false;
    // What changed last stands last.
    this.states.delete(id);
    this.states.set(id, state);
    if (!this.#isOne && isFinished(state)) {
      const finished = [...this.states].filter(([, other]) => isFinished(other));
      for (const [oldest] of finished.slice(0, -MAX_FINISHED)) this.states.delete(oldest);
    }
    return true;
  }
}

/** Statistics have none: each is new. */
const seqOf = (state: State): number => ('seq' in state ? state.seq : Number.NaN);

const isFinished = (state: State): boolean => 'status' in state && isTerminal(state.status);
