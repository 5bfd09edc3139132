import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Delivery, NotSent } from './delivery.ts';
import { type ReporterOptions, type Target, targetOf } from './options.ts';
import { Queue } from './queue.ts';
import { Spool } from './spool.ts';
import { clip, lineOf } from './text.ts';
import { isDroppable, type Update } from './update.ts';

/** How long updates wait for others, in milliseconds. */
const GATHER_MS = 100;

const CLOSE_TIMEOUT_MS = 1500;

/** The largest update that is taken, in bytes: docs/events.md. */
const MAX_UPDATE_BYTES = 1024 * 1024;

/** After how many failures in a row it is told that nothing is sent. */
const TOLD_AFTER = 3;

/** Sends updates beside whatever the process does. No method throws, and none waits without a bound. */
export interface Reporter {
  /** Whether anything is sent at all. */
  readonly isOn: boolean;
  /** Adds an update; it is sent within 100 ms. */
  send(update: Update): void;
  /** Resolves once all that was added is taken or refused, after `ms` (1,500) at the latest. */
  flush(ms?: number): Promise<void>;
  /** Sends what it can within `closeTimeoutMs`, keeps the rest in a file, and says so. Nothing is sent after it. */
  close(): Promise<void>;
  /** Where a person watches a run. */
  pageOf(runId: string): string;
  /** How many updates were taken, refused, and lost for want of room so far. */
  readonly counts: { taken: number; refused: number; lost: number };
}

/** Starts a reporter. Without a server to send to it does nothing, and says once what to set. */
export function createReporter(options: ReporterOptions = {}): Reporter {
  if (options.enabled === false) return new Off();
  const target = targetOf(options);
  if ('why' in target) {
    say(target.why);
    return new Off();
  }
  return new Sending(target, options);
}

class Off implements Reporter {
  readonly isOn = false;
  readonly counts = { taken: 0, refused: 0, lost: 0 };
  send(): void {}
  async flush(): Promise<void> {}
  async close(): Promise<void> {}
  pageOf(): string {
    return '';
  }
}

class Sending implements Reporter {
  readonly isOn = true;
  readonly #target: Target;
  readonly #closeTimeoutMs: number;
  readonly #delivery: Delivery;
  readonly #spool: Spool;
  readonly #queue = new Queue();
  readonly #eventIds = randomBytes(9).toString('base64url');
  #eventCount = 0;
  #taken = 0;
  #refused = 0;
  #lost = 0;
  /** Why the first was refused, and why nothing is sent. */
  #refusal: string | undefined;
  #trouble: string | undefined;
  #hasTold = false;
  /** What is on its way. */
  #sending: string[] = [];
  #pump: Promise<void> | undefined;
  #isStopped = false;
  #isClosed = false;
  #closing: Promise<void> | undefined;

  constructor(target: Target, options: ReporterOptions) {
    this.#target = target;
    this.#closeTimeoutMs = options.closeTimeoutMs ?? CLOSE_TIMEOUT_MS;
    this.#spool = new Spool(options.spool, target.url, target.project);
    this.#delivery = new Delivery(target, (why, failures) => {
      this.#trouble = why;
      if (failures >= TOLD_AFTER && !this.#isClosed) this.#tell(why);
    });
    process.on('beforeExit', this.#onBeforeExit);
    // Before others that leave at once, as Vitest's does.
    process.prependListener('exit', this.#onExit);
  }

  get counts() {
    return { taken: this.#taken, refused: this.#refused, lost: this.#lost + this.#queue.dropped };
  }

  pageOf(runId: string): string {
    return new URL(`#/runs/${runId}`, this.#target.url).href;
  }

  send(update: Update): void {
    if (this.#isClosed) return;
    try {
      // The eventId first of all: by it, a file of updates is known.
      const full: Update = { eventId: '', projectId: this.#target.project, ...update };
      full.eventId ||= `${this.#eventIds}-${++this.#eventCount}`;
      full.occurredAt ??= Date.now();
      if (full.error) full.error = clip(full.error);
      if (full.errorDetails) full.errorDetails = clip(full.errorDetails);
      const json = JSON.stringify(full);
      // A character has three bytes at most.
      if (json.length > MAX_UPDATE_BYTES / 3 && Buffer.byteLength(json) > MAX_UPDATE_BYTES) this.#lost += 1;
      else this.#queue.push(json, isDroppable(update));
    } catch {
      // What is no JSON.
      this.#lost += 1;
    }
    this.#start();
  }

  async flush(ms = CLOSE_TIMEOUT_MS): Promise<void> {
    if (this.#pump) await within(ms, this.#pump);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#isClosed = true;
    this.#delivery.giveUpAt(Date.now() + this.#closeTimeoutMs);
    if (this.#pump) await within(this.#closeTimeoutMs, this.#pump);
    this.#isStopped = true;
    this.#delivery.abort();
    this.#keep(false);
    process.off('beforeExit', this.#onBeforeExit);
    process.off('exit', this.#onExit);
  }

  readonly #onBeforeExit = () => void this.close();

  /** Who ends without `close()` waits for nothing any more: another process sends what is left, as long as `close()` may. */
  readonly #onExit = () => {
    const mayBeTaken = !this.#isStopped;
    this.#isClosed = true;
    this.#isStopped = true;
    this.#keep(mayBeTaken);
  };

  /** One request at a time: so a run's updates keep their order. */
  #start(): void {
    if (this.#isStopped) return;
    this.#pump ??= this.#run().finally(() => {
      this.#pump = undefined;
      if (this.#queue.size > 0) this.#start();
    });
  }

  async #run(): Promise<void> {
    await this.#sendKept();
    while (this.#queue.size > 0 && !this.#isStopped) {
      if (!this.#isClosed) await new Promise<void>((resolve) => setTimeout(resolve, GATHER_MS).unref());
      this.#sending = this.#queue.take();
      if (await this.#deliver(this.#sending)) this.#sending = [];
    }
  }

  #files: string[] | undefined;

  /** Sends what an earlier process could not. */
  async #sendKept(): Promise<void> {
    this.#files ??= this.#spool.files();
    for (let file = this.#files.shift(); file && !this.#isClosed; file = this.#files.shift()) {
      const lines = await fs.promises.readFile(file, 'utf8').catch(() => '');
      const waiting = new Queue(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
      for (const line of lines.split('\n')) if (line) waiting.push(line, false);
      while (waiting.size > 0) if (this.#isClosed || !(await this.#deliver(waiting.take()))) return;
      await fs.promises.rm(file, { force: true }).catch(() => {});
    }
  }

  /** Whether these are settled; else nothing will be sent any more. */
  async #deliver(updates: string[]): Promise<boolean> {
    try {
      const receipt = await this.#delivery.deliver(updates);
      this.#taken += receipt.accepted + receipt.duplicates;
      for (const { reason } of receipt.rejected) this.#refuse(1, reason);
    } catch (error) {
      this.#trouble = lineOf(error);
      if (error instanceof NotSent && error.isOfThese) {
        this.#refuse(updates.length, error.message);
      } else {
        this.#isStopped = true;
        if (!this.#isClosed) this.#tell(this.#trouble);
        return false;
      }
    }
    return true;
  }

  #refuse(count: number, why: string): void {
    this.#refused += count;
    this.#refusal ??= lineOf(why);
  }

  #tell(why: string): void {
    if (this.#hasTold) return;
    this.#hasTold = true;
    say(`nothing is sent at present: ${why}`);
  }

  /** Keeps what was not sent, and says what became of all. */
  #keep(sendsFirst: boolean): void {
    const left = [...this.#sending, ...this.#queue.takeAll()];
    this.#sending = [];
    const { refused, lost } = this.counts;
    if (refused > 0) say(`the server refused ${updates(refused)}: ${this.#refusal}`);
    if (lost > 0) say(`lost ${updates(lost)}: too large, or there was no room`);
    if (left.length === 0) return;
    const why = this.#trouble ?? 'the process has ended before';
    try {
      const file = path.relative('', this.#spool.write(left));
      if (sendsFirst && sendFile(file, this.#target, this.#delivery.token, this.#closeTimeoutMs)) return;
      say(`could not send ${updates(left.length)} (${why}): the next run does, or runcast import ${file}`);
    } catch (error) {
      say(`could not send ${updates(left.length)} (${why}), nor keep them: ${lineOf(error)}`);
    }
  }
}

/** Sends a file by another process, while this one waits. Whether that did. */
function sendFile(file: string, target: Target, token: string | undefined, timeout: number): boolean {
  if (token === undefined) return false;
  const environment = {
    ...process.env,
    NODE_OPTIONS: '',
    RUNCAST_URL: target.url.href,
    RUNCAST_TOKEN: token,
  };
  const script = fileURLToPath(new URL('./leave.js', import.meta.url));
  const sent = spawnSync(process.execPath, [script, file], { env: environment, stdio: 'ignore', timeout });
  return sent.status === 0;
}

/** Waits for work, but no longer than so many milliseconds; the process goes on meanwhile. */
export async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const end = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, end]);
  clearTimeout(timer);
}

function updates(count: number): string {
  return count === 1 ? '1 update' : `${count} updates`;
}

/** A line for people, beside the tool's own output. */
export function say(line: string): void {
  try {
    process.stderr.write(`runcast: ${line}\n`);
  } catch {
    // Nobody reads it any more.
  }
}
