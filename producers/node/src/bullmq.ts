import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { Delivery, NotSent, type Receipt } from './delivery.ts';
import { fitted, type Job, type JobEvent, JobRuns, type OpenRun, runIdOf } from './jobs.ts';
import { type ReporterOptions, type Target, targetOf } from './options.ts';
import { say, within } from './reporter.ts';
import { lineOf } from './text.ts';
import type { Update } from './update.ts';

/** How many events are read, and open runs looked after, at once. */
const EVENTS = 100;
const LOOKED = 250;

/** How often it looks after open runs. */
const LOOK_EVERY_MS = 1000;

/** After how many failures in a row it is told that nothing is sent. */
const TOLD_AFTER = 3;

/** How long it waits for events, and for the server where it is closed. */
const BLOCK_MS = 500;
const CLOSE_TIMEOUT_MS = 1500;

/** How long it waits where Redis or the server refuses. */
const PATIENCE_MS = 5000;

/** Which jobs are forwarded, and where to. */
export interface ForwarderOptions extends Pick<ReporterOptions, 'url' | 'token' | 'project'> {
  /** BullMQ's Redis; a connection of its own is made of it. */
  connection: Redis;
  /** BullMQ's prefix, where it is not `bull`. */
  prefix?: string;
}

/** Forwards a queue's jobs until it is closed. */
export interface Forwarder {
  /** Ends it; the next one goes on where it stood. */
  close(): Promise<void>;
}

/**
 * Forwards the life of a queue's jobs, in order: each is a job run, `<queue>-<job id>`. A job that is removed before
 * its end is cancelled, however it went. How far it came stands in BullMQ's Redis; an event that is sent twice
 * counts once.
 *
 * @throws where no server is named
 */
export async function forwardJobs(queue: string, options: ForwarderOptions): Promise<Forwarder> {
  const target = targetOf(options);
  if ('why' in target) throw new Error(target.why);
  const forwarding = new Forwarding(queue, target, options);
  const done = forwarding.run();
  return { close: () => forwarding.close(done) };
}

class Forwarding {
  readonly #name: string;
  readonly #target: Target;
  readonly #connection: Redis;
  readonly #queue: Queue;
  readonly #delivery: Delivery;
  readonly #runs: JobRuns;
  readonly #keys: { forwarded: string; open: string; ended: string };
  /** What is to be written down once it has arrived. */
  readonly #changes = new Map<string, () => unknown[]>();
  #updates: Update[] = [];
  #position = '';
  #isClosed = false;
  readonly #closing = new AbortController();
  #looking: Iterator<[string, OpenRun]> | undefined;
  #lookAt = 0;
  #hasTold = false;

  constructor(name: string, target: Target, { connection, prefix = 'bull' }: ForwarderOptions) {
    this.#name = name;
    this.#target = target;
    this.#connection = connection.duplicate({ maxRetriesPerRequest: null });
    this.#connection.on('error', () => {});
    this.#queue = new Queue(name, { connection: this.#connection, prefix, skipMetasUpdate: true });
    this.#queue.on('error', () => {});
    this.#delivery = new Delivery(target, (why, failures) => {
      if (failures >= TOLD_AFTER) this.#tell(why);
    });
    const key = (of: string) => `runcast:${of}:${prefix === 'bull' ? '' : `${prefix}:`}${name}`;
    this.#keys = { forwarded: key('forwarded'), open: key('open'), ended: key('ended') };
    this.#runs = new JobRuns(
      (jobId) => this.#queue.getJob(jobId) as Promise<Job | undefined>,
      (of, jobId, value) =>
        this.#changes.set(`${of} ${jobId}`, () =>
          value === undefined ? ['hdel', this.#keys[of], jobId] : ['hset', this.#keys[of], jobId, value],
        ),
    );
  }

  async run(): Promise<void> {
    while (!this.#isClosed) {
      try {
        if (!this.#position) await this.#remember();
        await this.#forward(await this.#read(BLOCK_MS));
        if (Date.now() >= this.#lookAt) await this.#endWhatIsGone();
        this.#hasTold = false;
      } catch (error) {
        if (this.#isClosed) return;
        this.#tell(lineOf(error));
        await sleep(PATIENCE_MS, undefined, { signal: this.#closing.signal }).catch(() => {});
      }
    }
  }

  /** What is on its way may arrive, and be written down. */
  async close(done: Promise<void>): Promise<void> {
    this.#isClosed = true;
    this.#closing.abort();
    this.#delivery.giveUpAt(Date.now() + CLOSE_TIMEOUT_MS);
    await within(BLOCK_MS + CLOSE_TIMEOUT_MS, done);
    this.#delivery.abort();
    await this.#queue.close().catch(() => {});
    this.#connection.disconnect();
    await done;
  }

  /** What an earlier one wrote down: how far it came, and which runs it knows. */
  async #remember(): Promise<void> {
    const position = await this.#connection.get(this.#keys.forwarded);
    if (!position) await this.#connection.del(this.#keys.open, this.#keys.ended);
    const open = await this.#connection.hgetall(this.#keys.open);
    const ended = await this.#connection.hgetall(this.#keys.ended);
    for (const [jobId, run] of Object.entries(open)) this.#runs.open.set(jobId, JSON.parse(run) as OpenRun);
    for (const [jobId, attempt] of Object.entries(ended)) this.#runs.ended.set(jobId, Number(attempt));
    this.#position = position ?? '0-0';
  }

  async #read(patienceMs?: number): Promise<[string, string[]][]> {
    const from = [this.#queue.toKey('events'), this.#position] as const;
    const found =
      patienceMs === undefined
        ? await this.#connection.xread('COUNT', EVENTS, 'STREAMS', ...from)
        : await this.#connection.xread('COUNT', EVENTS, 'BLOCK', patienceMs, 'STREAMS', ...from);
    return found?.[0]?.[1] ?? [];
  }

  async #forward(events: [string, string[]][]): Promise<void> {
    for (const [streamId, fields] of events) {
      const told: Record<string, string> = {};
      for (let at = 0; at < fields.length; at += 2) told[fields[at] ?? ''] = fields[at + 1] ?? '';
      const { event, jobId = '' } = told;
      const update = await this.#runs.updateOf(told as JobEvent);
      if (update)
        this.#add(jobId, `${event}-${streamId}`, { occurredAt: Number.parseInt(streamId, 10), ...update });
      this.#position = streamId;
    }
    if (events.length > 0 || this.#updates.length > 0) await this.#send();
  }

  /**
   * `drain`, `clean` and `obliterate` do not say which jobs they remove, and events that BullMQ has trimmed say nothing:
   * so it looks after the open ones, some at a time. A job that no list has any more is there for BullMQ, and here, until
   * `queue.removeOrphanedJobs()`.
   */
  async #endWhatIsGone(): Promise<void> {
    this.#lookAt = Date.now() + LOOK_EVERY_MS;
    this.#looking ??= this.#runs.open.entries();
    const looked: [string, OpenRun][] = [];
    while (looked.length < LOOKED) {
      const { value, done } = this.#looking.next();
      if (done) {
        this.#looking = undefined;
        break;
      }
      looked.push(value);
    }
    if (looked.length === 0) return;
    const questions = this.#connection.pipeline();
    for (const [jobId] of looked) {
      questions.exists(this.#queue.toKey(jobId));
      for (const state of ['completed', 'failed']) questions.zscore(this.#queue.toKey(state), jobId);
    }
    const answers = (await questions.exec())?.map(([error, answer]) => {
      if (error) throw error;
      return answer;
    });
    const gone = looked.flatMap(([jobId, run], index) => {
      const [exists, completed, failed] = answers?.slice(3 * index) ?? [];
      const status = completed ? 'completed' : failed ? 'failed' : exists ? undefined : 'cancelled';
      return status ? [{ jobId, run, status } as const] : [];
    });
    if (gone.length === 0) return;
    // Their end may be among the events that are still to be read.
    for (let events = await this.#read(); events.length > 0; events = await this.#read())
      await this.#forward(events);
    for (const { jobId, run, status } of gone) {
      if (this.#runs.open.get(jobId) !== run) continue;
      const job = status === 'failed' ? await this.#queue.getJob(jobId) : undefined;
      this.#add(jobId, `gone-${run.attempt}`, this.#runs.end(jobId, status, job?.failedReason));
    }
    await this.#send();
  }

  #add(jobId: string, event: string, update: Partial<Update>): void {
    const id = runIdOf(this.#name, jobId);
    const { project } = this.#target;
    const eventId = fitted(`${id}-${event}`, 128);
    this.#updates.push({ eventId, kind: 'job', id, ...(project && { projectId: project }), ...update });
  }

  /** Sends until they have arrived, and only then writes down how far it came. */
  async #send(): Promise<void> {
    if (this.#updates.length > 0) {
      const { rejected } = await this.#deliver(this.#updates.map((update) => JSON.stringify(update)));
      for (const { eventId, reason } of rejected) say(`refused: ${eventId}: ${lineOf(reason)}`);
      this.#updates = [];
    }
    const written = [...this.#changes];
    const commands = written.map(([, command]) => command());
    await this.#connection.multi([...commands, ['set', this.#keys.forwarded, this.#position]]).exec();
    for (const [key, command] of written) if (this.#changes.get(key) === command) this.#changes.delete(key);
  }

  async #deliver(updates: string[]): Promise<Receipt> {
    try {
      return await this.#delivery.deliver(updates);
    } catch (error) {
      if (!(error instanceof NotSent && error.isOfThese)) throw error;
      say(`${updates.length} updates were refused: ${error.message}`);
      return { accepted: 0, duplicates: 0, rejected: [] };
    }
  }

  /** Says once that nothing is forwarded, until something is. */
  #tell(why: string): void {
    if (!this.#hasTold && !this.#isClosed) say(`nothing is forwarded of ${this.#name} at present: ${why}`);
    this.#hasTold = true;
  }
}
