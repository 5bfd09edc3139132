import path from 'node:path';
import type {
  SerializedError,
  TestCase,
  TestModule,
  TestRunEndReason,
  TestSuite,
  Vitest,
  Reporter as VitestReporter,
} from 'vitest/node';
import { guarded } from './guard.ts';
import { identityOf } from './identity.ts';
import type { ReporterOptions } from './options.ts';
import { createReporter, type Reporter } from './reporter.ts';
import { fileOf, type ReportedTest, TestRun } from './run.ts';
import type { Shard, Status } from './update.ts';

/** What the configuration may say of the run. */
export interface RuncastOptions extends ReporterOptions {
  /** What people call the run; what the CI says where absent, or the folder. */
  name?: string | undefined;
}

/**
 * Reports a run of Vitest, live: `reporters: ['default', 'runcast-reporter/vitest']`.
 *
 * Vitest tells of retries once the test is over: so its attempts are told then, together. A file that cannot be
 * loaded, and a suite whose hook fails, are shown as tests of their name, `error`. In watch mode each run again is a
 * run of its own, that names the first.
 */
export default class RuncastReporter implements VitestReporter {
  readonly #options: RuncastOptions;
  #vitest: Vitest | undefined;
  #reporter: Reporter | undefined;
  #run: TestRun | undefined;
  #firstRun: string | undefined;
  #runs = 0;
  /** Whether the run was cut short because a test failed. */
  #hasBailed = false;
  #tests = new Map<string, ReportedTest>();
  #over = new Set<string>();

  constructor(options: RuncastOptions = {}) {
    this.#options = options;
    // biome-ignore lint/correctness/noConstructorReturn: tools make their reporters themselves
    return guarded(this);
  }

  onInit(vitest: Vitest): void {
    // Reports that are merged are no run.
    if (vitest.config.mergeReports) return;
    this.#vitest = vitest;
    this.#reporter = createReporter(this.#options);
    vitest.onClose(() => {
      this.#run?.abandon();
      return this.#reporter?.close();
    });
  }

  onTestRunStart(): void {
    if (!this.#vitest || !this.#reporter) return;
    const { shard } = this.#vitest.config;
    const part: Shard | undefined = shard && { index: shard.index, total: shard.count };
    const identity = identityOf(process.env, part);
    identity.name = this.#options.name ?? identity.name ?? `${path.basename(process.cwd())}: Vitest`;
    this.#runs += 1;
    this.#firstRun ??= identity.runId;
    if (this.#runs > 1) {
      identity.rerunOf = this.#firstRun;
      identity.runId = `${this.#firstRun}-${this.#runs}`;
    }
    this.#tests = new Map();
    this.#over = new Set();
    this.#hasBailed = false;
    this.#vitest.onCancel((reason: string) => {
      this.#hasBailed = reason === 'test-failure';
    });
    this.#run = new TestRun(this.#reporter, identity);
    this.#run.start(0);
  }

  onTestModuleCollected(module: TestModule): void {
    this.#run?.expect([...module.children.allTests()].length);
  }

  onTestCaseReady(test: TestCase): void {
    if (test.result().state !== 'skipped') this.#reported(test)?.running(1);
  }

  onTestCaseResult(test: TestCase): void {
    this.#finish(test, 'cancelled');
  }

  onTestModuleEnd(module: TestModule): void {
    for (const suite of [module, ...module.children.allSuites()]) this.#tellErrors(suite);
  }

  async onTestRunEnd(
    modules: readonly TestModule[],
    errors: readonly SerializedError[],
    reason: TestRunEndReason,
  ): Promise<void> {
    if (!this.#vitest || !this.#reporter) return;
    const isCancelled = reason === 'interrupted' && !this.#hasBailed;
    // What is still running then has lost its worker.
    const pending = isCancelled ? 'cancelled' : this.#hasBailed ? 'skipped' : 'error';
    for (const module of modules) {
      for (const test of module.children.allTests()) this.#finish(test, pending);
      this.onTestModuleEnd(module);
    }
    for (const error of errors) this.#run?.error(textOf(error));
    const isFailed = errors.length > 0 && !this.#vitest.config.dangerouslyIgnoreUnhandledErrors;
    this.#run?.end(isCancelled ? 'cancelled' : reason === 'passed' && !isFailed ? 'passed' : 'failed');
    if (this.#vitest.config.watch) await this.#reporter.flush();
    else await this.#reporter.close();
  }

  #finish(test: TestCase, pending: Status): void {
    const reported = this.#reported(test);
    if (!reported || this.#over.has(test.id)) return;
    this.#over.add(test.id);
    const { state, errors = [] } = test.result();
    const { startTime, duration = 0, retryCount = 0 } = test.diagnostic() ?? {};
    // A test that is to fail, or is repeated, tells what it counts, not what has failed.
    const retries = test.options.fails || test.options.repeats ? 0 : retryCount;
    for (let attempt = 1; attempt <= retries; attempt++) {
      const error = errors[attempt - 1];
      reported.ended({ attempt, status: 'failed', willRetry: true, error: error && textOf(error) });
    }
    const left = state === 'failed' ? errors.slice(errors.length > retries ? retries : 0) : [];
    reported.ended({
      attempt: retries + 1,
      status: state === 'pending' ? pending : state,
      durationMs: Math.round(duration),
      error: left.map(textOf).join('\n\n') || undefined,
      ...(retries === 0 && { startedAt: startTime && Math.round(startTime) }),
    });
  }

  #reported(test: TestCase): ReportedTest | undefined {
    let reported = this.#tests.get(test.id);
    if (!reported && this.#run) {
      const titles: string[] = [];
      for (let parent = test.parent; parent.type === 'suite'; parent = parent.parent)
        titles.unshift(parent.name);
      reported = this.#add(test, test.name, titles, test.location?.line);
      this.#tests.set(test.id, reported as ReportedTest);
    }
    return reported;
  }

  #tellErrors(suite: TestModule | TestSuite): void {
    const errors = suite.errors();
    if (errors.length === 0 || this.#over.has(suite.id)) return;
    this.#over.add(suite.id);
    const name = suite.type === 'module' ? fileOf(suite.moduleId) : suite.name;
    const error = errors.map(textOf).join('\n\n');
    this.#add(suite, name, [], suite.location?.line)?.ended({ attempt: 1, status: 'error', error });
  }

  #add(task: TestCase | TestModule | TestSuite, name: string, titles: string[], line?: number) {
    const { project } = task;
    const module = task.type === 'module' ? task : task.module;
    return this.#run?.test(['vitest', fileOf(project.config.root), task.id], {
      name,
      suite: [project.name, ...titles].filter(Boolean).join(' > ') || undefined,
      file: fileOf(module.moduleId),
      line,
      ...(project.name && { labels: { project: project.name } }),
    });
  }
}

function textOf(error: {
  message: string;
  stack?: string | undefined;
  diff?: string | undefined;
  cause?: unknown;
}): string {
  const text = error.stack?.includes(error.message) ? error.stack : `${error.message}\n${error.stack ?? ''}`;
  const cause = (error.cause as Error | undefined)?.message;
  return [text, error.diff, cause && `caused by: ${cause}`].filter(Boolean).join('\n\n');
}
