import path from 'node:path';
import type {
  FullConfig,
  FullResult,
  Reporter as PlaywrightReporter,
  Suite,
  TestCase,
  TestError,
  TestResult,
} from '@playwright/test/reporter';
import { guarded } from './guard.ts';
import { identityOf } from './identity.ts';
import type { ReporterOptions } from './options.ts';
import { createReporter, type Reporter } from './reporter.ts';
import { type Ended, fileOf, type ReportedTest, TestRun } from './run.ts';
import { SerialGroups } from './serial.ts';
import type { Status } from './update.ts';

/** What the configuration may say of the run. */
export interface RuncastOptions extends ReporterOptions {
  /** What people call the run; what the CI says where absent, or the folder. */
  name?: string | undefined;
}

/**
 * Reports a run of Playwright Test, live: `reporter: [['list'], ['runcast-reporter/playwright']]`.
 *
 * Where a retry is due, a failed attempt is told as one that will be retried. Tests of `describe.serial` run again
 * together, also those that passed: their end is told once none of them can.
 */
export default class RuncastReporter implements PlaywrightReporter {
  readonly #options: RuncastOptions & { _mode?: string };
  readonly #groups = new SerialGroups();
  readonly #tests = new Map<string, ReportedTest>();
  /** Tests whose end is not told yet: what it would be. */
  readonly #held = new Map<string, Ended>();
  /** Tests that wait for a retry. */
  readonly #waiting = new Map<string, Ended>();
  readonly #running = new Set<string>();
  #reporter: Reporter | undefined;
  #run: TestRun | undefined;
  #suite: Suite | undefined;
  #errors: TestError[] = [];

  constructor(options: RuncastOptions = {}) {
    this.#options = options;
    // biome-ignore lint/correctness/noConstructorReturn: tools make their reporters themselves
    return guarded(this);
  }

  printsToStdio(): boolean {
    return false;
  }

  onBegin(config: FullConfig, suite: Suite): void {
    // Reports that are merged, and lists of tests, are no runs.
    const mode = this.#options._mode ?? (process.argv.includes('merge-reports') ? 'merge' : 'test');
    if (mode !== 'test' || process.argv.includes('--list')) return;
    const shard = config.shard ? { index: config.shard.current, total: config.shard.total } : undefined;
    const identity = identityOf(process.env, shard);
    identity.name = this.#options.name ?? identity.name ?? `${path.basename(process.cwd())}: Playwright`;
    this.#reporter = createReporter(this.#options);
    this.#suite = suite;
    this.#run = new TestRun(this.#reporter, identity);
    this.#run.start(suite.allTests().length);
    for (const error of this.#errors.splice(0)) this.onError(error);
  }

  onTestBegin(test: TestCase, result: TestResult): void {
    const reported = this.#reported(test);
    const before = this.#held.get(test.id);
    if (before) reported?.ended({ ...before, willRetry: true });
    this.#held.delete(test.id);
    this.#waiting.delete(test.id);
    this.#running.add(test.id);
    this.#groups.reopen(test);
    // What is skipped has none.
    const worker = result.parallelIndex < 0 ? undefined : result.parallelIndex;
    reported?.running(result.retry + 1, result.startTime.getTime(), worker);
  }

  onTestEnd(test: TestCase, result: TestResult): void {
    const reported = this.#reported(test);
    if (!reported) return;
    this.#running.delete(test.id);
    const files = result.attachments.flatMap((attachment) => attachment.path ?? []).map(fileOf);
    for (const file of files) this.#run?.artifact(file);
    const ended: Ended = {
      attempt: result.retry + 1,
      status: statusOf(test, result),
      startedAt: result.startTime.getTime(),
      durationMs: Math.max(0, Math.round(result.duration)),
      error: result.errors.map(textOf).join('\n\n') || undefined,
      reportPath: files.find((file) => file.endsWith('.zip')) ?? files[0],
    };
    const hasRetries = result.retry < test.retries && result.status !== 'interrupted';
    if (hasRetries && result.status !== test.expectedStatus) {
      // Playwright runs it again, unless the run is ended before.
      reported.ended({ ...ended, willRetry: true });
      this.#waiting.set(test.id, ended);
    } else if (hasRetries && this.#groups.has(test)) {
      this.#held.set(test.id, ended);
      for (const settled of this.#groups.settle(test)) this.#release(settled);
    } else {
      reported.ended(ended);
      for (const settled of this.#groups.settle(test)) this.#release(settled);
    }
  }

  onError(error: TestError): void {
    if (this.#run) this.#run.error(textOf(error));
    else this.#errors.push(error);
  }

  async onEnd(result: FullResult): Promise<void> {
    for (const test of this.#suite?.allTests() ?? []) this.#finish(test);
    this.#run?.end(RUN_STATUS[result.status] ?? 'error');
    // The others' ends need not wait: what is sent now is sent beside them, and onExit waits for it.
  }

  async onExit(): Promise<void> {
    await this.#reporter?.close();
  }

  #reported(test: TestCase): ReportedTest | undefined {
    let reported = this.#tests.get(test.id);
    if (!reported && this.#run) {
      // '', the project, the file, the titles.
      const [, project, , ...titles] = test.titlePath();
      const name = titles.pop() ?? test.title;
      reported = this.#run.test(['playwright', test.id], {
        name: test.repeatEachIndex > 0 ? `${name} (repeat ${test.repeatEachIndex})` : name,
        suite: [project, ...titles].filter(Boolean).join(' › ') || undefined,
        file: fileOf(test.location.file),
        line: test.location.line,
        ...(project && { labels: { project } }),
      });
      this.#tests.set(test.id, reported);
    }
    return reported;
  }

  #release(id: string): void {
    const ended = this.#held.get(id);
    if (ended) this.#tests.get(id)?.ended(ended);
    this.#held.delete(id);
  }

  /** Tells the end of a test of which nothing more comes. */
  #finish(test: TestCase): void {
    this.#release(test.id);
    const waiting = this.#waiting.get(test.id);
    // The retry did not come.
    if (waiting)
      this.#reported(test)?.ended({
        ...waiting,
        attempt: waiting.attempt + 1,
        startedAt: undefined,
        durationMs: undefined,
      });
    else if (this.#running.has(test.id)) {
      this.#reported(test)?.ended({ attempt: test.results.length, status: 'cancelled' });
    } else if (!this.#tests.has(test.id)) {
      this.#reported(test)?.ended({ attempt: 1, status: 'skipped' });
    }
  }
}

const RUN_STATUS: Record<FullResult['status'], Status> = {
  passed: 'passed',
  failed: 'failed',
  timedout: 'error',
  interrupted: 'cancelled',
};

/** How an attempt ended. A test that is expected to fail, and does, has passed. */
function statusOf(test: TestCase, result: TestResult): Status {
  if (result.status === 'skipped') return 'skipped';
  if (result.status === 'interrupted') return 'cancelled';
  if (result.status === test.expectedStatus) return 'passed';
  return result.status === 'timedOut' ? 'error' : 'failed';
}

/** The message, the code around, and where it came from. */
function textOf({ message, snippet, stack, value }: TestError): string {
  if (!message) return stack ?? value ?? 'unknown error';
  const from = stack?.startsWith(message) ? stack.slice(message.length).replace(/^\n+/, '') : stack;
  return [message, snippet, from].filter(Boolean).join('\n\n');
}
