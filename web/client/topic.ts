import type { Refusal } from './error.ts';
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
export type AnyState = Partial<Omit<JobState, 'kind' | 'runId'> & Omit<TestState, 'kind'>>;

/** An execution's id, as its state tells it; empty for statistics. */
export const idOf = ({ testId, runId }: AnyState): string => testId ?? runId ?? '';

/** One thing that can be watched, such as a job run, or all tests of one: what is known of it, and where its cursor stands. */
export interface Topic {
  /** The function that serves it, a question mark, and the part of the query that asks for it: `job-status?runId=r`. */
  readonly key: string;
  readonly service: string;
  readonly part: string;
  /** Whether it is all of a project, whose states do not say that they are part of it. */
  readonly isProject: boolean;
  /** By execution. */
  readonly states: Map<string, State>;
  position: string | undefined;
  /**
   * With how many others it may be asked for: fewer, where one of them may be what was refused; none, where the server
   * refuses streams that are merged.
   */
  most: number;
  end: Over['end'];
  error: Over['error'];
  /** Whether that state is one of its own, as far as it says so. */
  owns(state: State): boolean;
  /** Takes an update in; returns the states that are new, each once and none older than what was there. */
  take(update: TopicUpdate): State[];
  /**
   * For how long, in milliseconds, it has to be silent to count as over; for ever where it has not ended. A stream that
   * carries others, too, only says when all of them are over.
   */
  quietMs(): number;
}

export function createTopic(key: string): Topic {
  const [service = '', field = ''] = key.split(/[?=]/, 2);
  const part = key.slice(service.length + 1);
  const id = part.slice(field.length + 1);
  const isProject = field === 'projectId';
  const isOne = field === (service === 'job-status' ? 'runId' : 'testId');
  const states = new Map<string, State>();
  /** Those of its executions that have ended; who ended last stands last. */
  const finished = new Set<string>();

  const isNew = (state: State): boolean => {
    // Statistics have no `seq`: each is new.
    const { seq = 0, status } = state as AnyState;
    const its = idOf(state as AnyState);
    const { seq: before = -1 } = (states.get(its) ?? {}) as AnyState;
    if (seq <= before) return false;
    // What changed last stands last.
    if (isProject) states.delete(its);
    states.set(its, state);
    finished.delete(its);
    if (status && isTerminal(status)) finished.add(its);
    if (isProject && finished.size > MAX_FINISHED) {
      const [oldest = ''] = finished;
      finished.delete(oldest);
      states.delete(oldest);
    }
    return true;
  };

  const topic: Topic = {
    key,
    service,
    part,
    isProject,
    states,
    position: undefined,
    most: MAX_PARTS,
    end: undefined,
    error: part && !/^[\w-]{1,128}$/.test(id) ? { status: 400, message: `Not an id: ${id}` } : undefined,
    owns: (state) => (state as unknown as Record<string, unknown>)[field] === id,
    take(update) {
      if (update.reset) {
        states.clear();
        finished.clear();
        topic.position = undefined;
      }
      const news = update.states.filter(isNew);
      topic.position = update.position ?? topic.position;
      topic.end ??= update.end;
      topic.error ??= update.error;
      return news;
    },
    quietMs() {
      // Of a run's tests there may be others, as long as it goes on itself.
      if (!isOne || !finished.size) return Number.POSITIVE_INFINITY;
      const [{ tests }] = states.values() as unknown as [AnyState];
      return tests && tests.waiting + tests.running > 0 ? SETTLE_MS : QUIET_MS;
    },
  };
  return topic;
}

/** Whether nothing more will be told of it. */
export const isOver = ({ end, error }: Topic): boolean => !!(end || error);
