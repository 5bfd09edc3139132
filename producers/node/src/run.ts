import path from 'node:path';
import { hash } from './hash.ts';
import type { Identity } from './identity.ts';
import { type Reporter, say } from './reporter.ts';
import type { Status, Update } from './update.ts';

/** How often a run says that it lives, and for how long it may be silent: four signs of life. */
const ALIVE_EVERY_MS = 30_000;
const TIMEOUT_SECONDS = 120;

const PROGRESS_EVERY_MS = 1000;

/** The most paths of artifacts, and characters of errors, that a run tells. */
const MAX_ARTIFACTS = 500;
const MAX_DETAILS = 16 * 1024;

/** What is known of a test before it runs. */
export interface TestFacts {
  name: string;
  suite?: string | undefined;
  file?: string | undefined;
  line?: number | undefined;
  labels?: Record<string, string>;
}

/** How an attempt ended. */
export interface Ended {
  attempt: number;
  status: Status;
  willRetry?: boolean;
  startedAt?: number | undefined;
  durationMs?: number | undefined;
  error?: string | undefined;
  reportPath?: string | undefined;
}

/** A run of tests: a job run, and the tests that name it. */
export class TestRun {
  readonly id: string;
  readonly #reporter: Reporter;
  readonly #identity: Identity;
  /** Whether its beginning and end are told from here: `runcast run` does it itself. */
  readonly #isOurs = process.env.RUNCAST_RUN_BY !== 'runcast-run';
  readonly #artifacts = new Set<string>();
  #details = '';
  #total = 0;
  #completed = 0;
  #progressAt = 0;
  #alive: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(reporter: Reporter, identity: Identity) {
    this.#reporter = reporter;
    this.#identity = identity;
    this.id = identity.runId;
  }

  /** Tells that it runs, and of how many tests, and prints where to watch it. */
  start(total: number): void {
    this.#total = total;
    if (!this.#reporter.isOn || !this.#isOurs) return;
    say(`watch this run at ${this.#reporter.pageOf(this.id)}`);
    const { jobId, name, url, rerunOf } = this.#identity;
    const facts = { jobId, name, url, rerunOf, labels: someOf(this.#identity.labels) };
    const progress = this.#progress();
    this.#send({ ...facts, status: 'running', timeoutSeconds: TIMEOUT_SECONDS, progress });
    this.#alive = setInterval(() => this.#send({ alive: true }), ALIVE_EVERY_MS).unref();
    process.prependListener('exit', this.#onExit);
  }

  /** More tests became known. */
  expect(more: number): void {
    this.#total += more;
  }

  /** A test, named by all that makes it another than the others of this run. */
  test(key: readonly string[], facts: TestFacts): ReportedTest {
    const { labels: its, shard } = this.#identity;
    const part = shard && { shard: `${shard.index}/${shard.total}` };
    const labels = someOf({ ...its, ...part, ...facts.labels });
    const id = hash([this.id, ...key]);
    return new ReportedTest(this, { kind: 'test', id, runId: this.id, ...facts, labels });
  }

  /** Something went wrong outside of any test. */
  error(text: string): void {
    if (this.#details.length < MAX_DETAILS) this.#details += `${this.#details ? '\n\n' : ''}${text}`;
  }

  /** A file that was left for people to look at. */
  artifact(file: string): void {
    if (this.#artifacts.size < MAX_ARTIFACTS) this.#artifacts.add(file);
  }

  /** Tells its end, once. */
  end(status: Status): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#alive);
    process.off('exit', this.#onExit);
    if (!this.#isOurs) return;
    const artifactPaths = [...this.#artifacts];
    this.#send({
      status,
      progress: this.#progress(),
      errorDetails: this.#details || undefined,
      artifactPaths: artifactPaths.length > 0 ? artifactPaths : undefined,
    });
  }

  /** @internal */
  tell(update: Update): void {
    this.#reporter.send(update);
    if (update.status === 'running' || update.willRetry) return;
    this.#completed += 1;
    if (!this.#isOurs || Date.now() < this.#progressAt + PROGRESS_EVERY_MS) return;
    this.#send({ status: 'running', progress: this.#progress() });
  }

  /** Tells the end of a run whose tool leaves before it: it was asked to, by a signal, or has crashed. */
  abandon(exitCode: unknown = process.exitCode): void {
    this.end(Number(exitCode) > 128 ? 'cancelled' : 'error');
  }

  readonly #onExit = (exitCode: number) => this.abandon(exitCode);

  #progress() {
    this.#progressAt = Date.now();
    const total = Math.max(this.#total, this.#completed);
    return total > 0 ? { completed: this.#completed, total } : undefined;
  }

  #send(update: Omit<Update, 'kind' | 'id'>): void {
    const { shard } = this.#identity;
    this.#reporter.send({ kind: 'job', id: this.id, shard, ...update });
  }
}

/** A test of a run. */
export class ReportedTest {
  readonly #run: TestRun;
  #facts: Update;

  /** @internal */
  constructor(run: TestRun, facts: Update) {
    this.#run = run;
    this.#facts = facts;
  }

  /** `worker`: which of those that run at the same time has this attempt. */
  running(attempt: number, startedAt?: number, worker?: number): void {
    if (worker !== undefined) {
      this.#facts = { ...this.#facts, labels: { ...this.#facts.labels, worker: String(worker) } };
    }
    this.#run.tell({ ...this.#facts, status: 'running', attempt, startedAt, occurredAt: startedAt });
  }

  ended({ attempt, status, willRetry, startedAt, durationMs, error, reportPath }: Ended): void {
    const isTimed = startedAt !== undefined && durationMs !== undefined;
    const completedAt = isTimed ? startedAt + durationMs : undefined;
    const times = { startedAt, completedAt, occurredAt: completedAt, durationMs };
    this.#run.tell({
      ...this.#facts,
      status,
      attempt,
      ...times,
      error,
      reportPath,
      willRetry: willRetry ? true : undefined,
    });
  }
}

/** A file as people name it: from where the tool was started, with slashes. */
export function fileOf(file: string): string {
  return path.relative('', file).split(path.sep).join('/');
}

function someOf(labels: Record<string, string>): Record<string, string> | undefined {
  return Object.keys(labels).length > 0 ? labels : undefined;
}
