import { createHash } from 'node:crypto';
import { clip } from './text.ts';
import type { Update } from './update.ts';

/** What an event of BullMQ says. */
export interface JobEvent {
  event?: string;
  jobId?: string;
  prev?: string;
  data?: string;
  failedReason?: string;
}

/** What BullMQ knows of a job. */
export interface Job {
  attemptsMade: number;
  failedReason?: string;
}

/** A run that has not ended. */
export interface OpenRun {
  /** The attempts that BullMQ does not count (any more). */
  before: number;
  attempt: number;
  isActive: boolean;
}

/** Of how many runs that have ended their last attempt is remembered. */
const MAX_ENDED = 10_000;

/**
 * The runs of a queue's jobs. What BullMQ tries again, what is retried after its end, and what is added anew with the
 * same id is the run's next attempt.
 */
export class JobRuns {
  readonly open = new Map<string, OpenRun>();
  /** The last attempts of those that ended last. */
  readonly ended = new Map<string, number>();
  readonly #jobOf: (jobId: string) => Promise<Job | undefined>;
  #onChange: (of: 'open' | 'ended', jobId: string, value: string | undefined) => void;

  constructor(
    jobOf: (jobId: string) => Promise<Job | undefined>,
    onChange: (of: 'open' | 'ended', jobId: string, value: string | undefined) => void,
  ) {
    this.#jobOf = jobOf;
    this.#onChange = onChange;
  }

  /**
   * What an event says of a run, where it says something. (`stalled` comes after a `waiting` that says it all,
   * `retries-exhausted` beside `failed`.)
   */
  async updateOf({
    event,
    jobId = '',
    prev,
    data,
    failedReason,
  }: JobEvent): Promise<Partial<Update> | undefined> {
    const run = this.open.get(jobId);
    switch (event) {
      case 'added':
        this.#begin(jobId, 0);
        return undefined;
      case 'waiting':
      case 'waiting-children':
      case 'delayed':
      case 'active':
        return await this.#moved(jobId, run, event === 'active', prev === 'failed' || prev === 'completed');
      case 'progress':
        return run && { status: statusOf(run), attempt: run.attempt, ...progressOf(data) };
      case 'completed':
      case 'failed':
        return this.end(jobId, event, failedReason);
      case 'removed':
        return run && this.end(jobId, 'cancelled');
      default:
        return undefined;
    }
  }

  /** Ends a run. */
  end(jobId: string, status: 'completed' | 'failed' | 'cancelled', failedReason?: string): Partial<Update> {
    const attempt = this.open.get(jobId)?.attempt ?? this.ended.get(jobId) ?? 1;
    this.open.delete(jobId);
    this.#onChange('open', jobId, undefined);
    // Those that ended last stand last.
    this.ended.delete(jobId);
    this.ended.set(jobId, attempt);
    this.#onChange('ended', jobId, String(attempt));
    const [oldest] = this.ended.keys();
    if (this.ended.size > MAX_ENDED && oldest !== undefined) {
      this.ended.delete(oldest);
      this.#onChange('ended', oldest, undefined);
    }
    return { status, attempt, ...detailsOf(failedReason) };
  }

  async #moved(
    jobId: string,
    run: OpenRun | undefined,
    isActive: boolean,
    isAgain: boolean,
  ): Promise<Partial<Update>> {
    const goesOn = isAgain ? undefined : run;
    const job = !goesOn || (goesOn.isActive && !isActive) ? await this.#jobOf(jobId) : undefined;
    // BullMQ has no event for an attempt that failed and is tried again.
    if (goesOn && job && goesOn.before + job.attemptsMade >= goesOn.attempt) {
      this.#keep(jobId, { ...goesOn, attempt: goesOn.attempt + 1, isActive: false });
      return { status: 'failed', attempt: goesOn.attempt, willRetry: true, ...detailsOf(job.failedReason) };
    }
    const { before, attempt } = goesOn ?? this.#begin(jobId, job?.attemptsMade ?? 0, isAgain);
    return { status: statusOf(this.#keep(jobId, { before, attempt, isActive })), attempt };
  }

  #begin(jobId: string, attemptsMade: number, isAgain = false): OpenRun {
    const last = this.open.get(jobId)?.attempt ?? this.ended.get(jobId);
    const attempt = last ? last + 1 : Math.max(attemptsMade + 1, isAgain ? 2 : 1);
    return this.#keep(jobId, { before: attempt - 1 - attemptsMade, attempt, isActive: false });
  }

  #keep(jobId: string, run: OpenRun): OpenRun {
    this.open.set(jobId, run);
    this.#onChange('open', jobId, JSON.stringify(run));
    return run;
  }
}

/**
 * `<queue>-<job id>`, with `_` and two hex digits for each byte that no id may hold, and for `_` itself: `a_b` is
 * `a_5fb`, `a:b` is `a_3ab`. In the queue's name `-` is `_2d`, since the first one ends it. So no two jobs are one run.
 */
export function runIdOf(queue: string, jobId: string): string {
  const hex = (character: string) => Buffer.from(character).toString('hex').replace(/../g, '_$&');
  const escaped = (text: string, what: RegExp) => text.replace(what, hex);
  return fitted(`${escaped(queue, /[^A-Za-z0-9]/gu)}-${escaped(jobId, /[^A-Za-z0-9-]/gu)}`, 123);
}

/** What is too long is told by its hash: it has the full length, which nothing else has. */
export function fitted(text: string, length: number): string {
  if (text.length < length) return text;
  const hash = createHash('sha256').update(text).digest('hex');
  return `${text.slice(0, length - hash.length - 1)}-${hash}`;
}

function statusOf({ isActive }: OpenRun): 'running' | 'waiting' {
  return isActive ? 'running' : 'waiting';
}

/** BullMQ takes any JSON; a number is a percentage. */
function progressOf(data = 'null'): Partial<Update> {
  const told: unknown = JSON.parse(data);
  const counted = typeof told === 'number' ? { completed: Math.round(told), total: 100 } : told;
  const { completed, total, message } = (counted ?? {}) as Record<string, unknown>;
  if (typeof completed !== 'number' || !Number.isFinite(completed)) return {};
  return {
    progress: {
      completed,
      ...(typeof total === 'number' && { total }),
      ...(typeof message === 'string' && { message: clip(message) }),
    },
  };
}

function detailsOf(failedReason: string | undefined): Partial<Update> {
  return failedReason ? { errorDetails: clip(failedReason) } : {};
}
