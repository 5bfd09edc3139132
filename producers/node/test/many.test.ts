import type { FullConfig, FullResult, Suite, TestCase, TestResult } from '@playwright/test/reporter';
import { expect, inject, onTestFinished, test, vi } from 'vitest';
import { hash } from '../src/hash.ts';
import Playwright from '../src/playwright.ts';
import Vitest from '../src/vitest.ts';
import { Viewer } from './viewer.ts';

const COUNT = 10_000;

/** A test of Playwright's, as its reporters get it. */
function caseOf(index: number): TestCase {
  return {
    id: `id-${index}`,
    title: `test ${index}`,
    titlePath: () => ['', 'chromium', 'many.spec.ts', 'group', `test ${index}`],
    location: { file: `${process.cwd()}/many.spec.ts`, line: index, column: 1 },
    expectedStatus: 'passed',
    retries: 0,
    repeatEachIndex: 0,
    results: [],
  } as unknown as TestCase;
}

function resultOf(status: TestResult['status'], error?: string): TestResult {
  const errors = error ? [{ message: error, stack: error }] : [];
  return {
    retry: 0,
    status,
    startTime: new Date(),
    duration: 1,
    attachments: [],
    errors,
  } as unknown as TestResult;
}

/** Runs it; returns the milliseconds of the processor that it took: others may have that meanwhile. */
function taken(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** What the same tests cost at least: an id and a line for each of their updates. */
function floor(): number {
  let length = 0;
  return taken(() => {
    for (let index = 0; index < 3 * COUNT; index += 1) {
      const id = hash([`test ${index}`]);
      const update = { eventId: id, kind: 'test', id, runId: 'run', status: 'passed', name: `test ${index}` };
      length += JSON.stringify({ ...update, suite: 'group', file: 'many.spec.ts', line: index }).length;
    }
    expect(length).toBeGreaterThan(COUNT);
  });
}

test('10,000 tests cost some times their lines, and no more memory than they say', { retry: 2 }, async () => {
  const project = `many-${crypto.randomUUID()}`;
  const { url, writeToken: token } = inject('stack');
  vi.stubEnv('RUNCAST_RUN_ID', project);
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  onTestFinished(() => write.mockRestore());
  const viewer = await Viewer.of(project);
  const reporter = new Playwright({ url, token, project, closeTimeoutMs: 30_000 });
  const tests = Array.from({ length: COUNT }, (_, index) => caseOf(index));
  const suite = { allTests: () => tests } as unknown as Suite;
  let ms = 0;
  const timed = (work: () => void) => {
    ms += taken(work);
  };
  const error = 'no such thing\n'.repeat(70_000);
  let peak = 0;
  timed(() => reporter.onBegin({ shard: null } as unknown as FullConfig, suite));
  for (let from = 0; from < COUNT; from += 100) {
    timed(() => {
      for (const [index, it] of tests.slice(from, from + 100).entries()) {
        const result = index === 0 ? resultOf('failed', error) : resultOf('passed');
        reporter.onTestBegin(it, result);
        reporter.onTestEnd(it, result);
      }
    });
    await new Promise(setImmediate);
    peak = Math.max(peak, process.memoryUsage().rss);
  }
  await reporter.onEnd({ status: 'failed' } as FullResult);
  await reporter.onExit();
  expect(write.mock.calls.map(([line]) => line)).toEqual([expect.stringContaining(`/#/runs/${project}`)]);
  const end = await viewer.end(project);
  expect(end.tests).toMatchObject({ total: COUNT, passed: 9900, failed: 100, running: 0 });
  // Some 4 to 6 times, where this was written.
  expect(ms / floor()).toBeLessThan(12);
  // Ten thousand tests, twice 500 bytes of each, and a hundred errors of 16 KB.
  expect(peak).toBeLessThan(600 * 1024 * 1024);
  viewer.close();
});

test('what no reporter should be told breaks nothing, and is said once', async () => {
  const said = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  onTestFinished(() => said.mockRestore());
  const { url, writeToken: token } = inject('stack');
  for (const reporter of [
    new Playwright({ url, token, project: 'odd' }),
    new Vitest({ url, token, project: 'odd' }),
  ]) {
    said.mockClear();
    const hooks = Object.getOwnPropertyNames(Object.getPrototypeOf(reporter)).filter((name) =>
      name.startsWith('on'),
    );
    expect(hooks.length).toBeGreaterThan(5);
    const call = (name: string) => (reporter as unknown as Record<string, () => unknown>)[name]?.();
    for (const hook of [...hooks, ...hooks]) await call(hook);
    expect(said.mock.calls.map(([line]) => line)).toEqual([expect.stringContaining('the tests are not')]);
  }
});
