import { expect, it, onTestFinished, vi } from 'vitest';
import { type ScriptedStream, scriptedStream } from '../../testing/index.ts';
import {
  type ClientOptions,
  createClient,
  type RunSnapshot,
  type TestCounts,
  type TestState,
  watchRun,
} from '../index.ts';
import { Tests } from '../tests.ts';
import { slow } from './network.ts';

const countsOf = (tests: Iterable<TestState>): TestCounts => {
  const counts: TestCounts = {
    total: 0,
    waiting: 0,
    running: 0,
    completed: 0,
    passed: 0,
    failed: 0,
    error: 0,
    cancelled: 0,
    skipped: 0,
    flaky: 0,
  };
  for (const { status, flaky } of tests) {
    counts.total += 1;
    counts[status] += 1;
    if (flaky) counts.flaky += 1;
  }
  return counts;
};

/** A server that counts the tests of `r` as the worker does: each change of one is an event of the run. */
function run(stream: ScriptedStream) {
  const tests = new Map<string, TestState>();
  const change = (given: Partial<TestState> & Pick<TestState, 'testId'>) => {
    const test = stream.test({ runId: 'r', ...given });
    tests.set(test.testId, test);
  };
  const tell = (status: 'running' | 'passed' | 'failed' = 'running') =>
    stream.job({ runId: 'r', status, tests: tests.size ? countsOf(tests.values()) : null });
  const test = (testId: string, status: TestState['status'], given: Partial<TestState> = {}) => {
    change({ testId, status, ...given });
    tell();
  };
  return { change, tell, test };
}

function watching(stream: ScriptedStream, options: ClientOptions = {}) {
  const client = createClient({ fetch: stream.fetch, random: () => 0, ...options });
  onTestFinished(() => client.close());
  const shown: RunSnapshot[] = [];
  const told: string[] = [];
  const watch = watchRun(client, 'r', {
    onState: (snapshot) => shown.push(snapshot),
    onCurrent: () => told.push('current'),
    onReset: () => told.push('reset'),
    onEnd: (reason) => told.push(reason),
    onError: ({ message }) => told.push(message),
  });
  return { client, shown, told, watch, last: () => shown.at(-1) as RunSnapshot };
}

const statuses = ({ tests }: RunSnapshot) =>
  [...tests.values()].map(({ testId, status }) => `${testId} ${status}`);

it('a run and its tests come together, and end together', async () => {
  const stream = scriptedStream();
  const { test, tell } = run(stream);
  test('b', 'passed');
  test('c', 'failed');
  test('a', 'running');
  const { shown, told, last } = watching(stream);
  await vi.waitFor(() => expect(told).toEqual(['current']));
  expect(statuses(last())).toEqual(['a running', 'c failed', 'b passed']);
  expect(last()).toMatchObject({ run: { status: 'running' }, isLoading: false, isConsistent: true });
  const before = last();
  test('d', 'running');
  test('a', 'passed');
  await vi.waitFor(() => expect(statuses(last())).toEqual(['a passed', 'c failed', 'b passed', 'd running']));
  // What has not changed is the same, and what was told stays as it was.
  expect(last().tests.get('c')).toBe(before.tests.get('c'));
  expect(statuses(before)).toEqual(['a running', 'c failed', 'b passed']);
  expect([before.tests.size, before.tests.has('d'), last().tests.has('d')]).toEqual([3, false, true]);
  test('d', 'passed', { flaky: true, attempt: 2 });
  tell('failed');
  await vi.waitFor(() => expect(told.at(-1)).toBe('complete'));
  expect(last()).toMatchObject({
    run: { status: 'failed', tests: { total: 4, flaky: 1 } },
    isConsistent: true,
  });
  expect(shown.filter(({ isLoading, isConsistent }) => !isLoading && !isConsistent)).toEqual([]);
  expect(stream.open).toBe(0);
});

it.each([
  ['its tests', 'test-status'],
  ['the run', 'job-status'],
])(
  'what is counted is what there is, however late %s come',
  async (_, slowOne) => {
    const stream = scriptedStream();
    const { test, tell } = run(stream);
    for (let n = 0; n < 20; n++) test(`t${n}`, 'waiting');
    const fetch = slow(stream, (service) => (service === slowOne ? 45 : 1));
    const { shown, told, last } = watching(stream, { fetch });
    await vi.waitFor(() => expect(told).toEqual(['current']), { timeout: 5_000 });
    shown.length = 0;
    for (let n = 0; n < 20; n++) {
      test(`t${n}`, 'running');
      await new Promise((resolve) => setTimeout(resolve, 4));
      test(`t${n}`, n % 3 ? 'passed' : 'failed');
      // An event of the run that is about no test.
      stream.job({ runId: 'r', status: 'running', tests: countsOf(stream.testsOf('r')), name: `${n}` });
    }
    tell('failed');
    await vi.waitFor(() => expect(told.at(-1)).toBe('complete'), { timeout: 8_000 });
    for (const { run, tests } of shown) expect(countsOf(tests.values())).toEqual(run.tests);
    expect(shown.length).toBeGreaterThan(2);
    expect(last().run).toMatchObject({ status: 'failed', tests: { passed: 13, failed: 7 } });
  },
  20_000,
);

it('where the other half does not come, what there is shows after a second, and says so', async () => {
  const stream = scriptedStream();
  const { test, tell, change } = run(stream);
  test('a', 'running');
  const { told, last } = watching(stream);
  await vi.waitFor(() => expect(told).toEqual(['current']));
  const at = Date.now();
  change({ testId: 'a', status: 'passed' });
  await vi.waitFor(() => expect(last().isConsistent).toBe(false), { timeout: 3_000 });
  expect(Date.now() - at).toBeGreaterThan(900);
  expect(statuses(last())).toEqual(['a passed']);
  tell();
  await vi.waitFor(() => expect(last()).toMatchObject({ isConsistent: true, run: { tests: { passed: 1 } } }));
});

it('a run that nobody has reported is waited for', async () => {
  const stream = scriptedStream();
  const { told, last } = watching(stream);
  await vi.waitFor(() => expect(told).toEqual(['current']));
  expect(last()).toMatchObject({ run: { seq: 0, status: 'waiting' }, isConsistent: true });
  expect(last().tests.size).toBe(0);
});

it('a run that ended long ago has its tests, and ends', async () => {
  const stream = scriptedStream();
  const { test, tell } = run(stream);
  for (let n = 0; n < 14; n++) test(`t${n}`, n === 7 ? 'failed' : 'passed');
  tell('failed');
  const { told, last, watch } = watching(stream);
  await vi.waitFor(() => expect(told).toEqual(['current', 'complete']));
  expect(statuses(last())[0]).toBe('t7 failed');
  expect(last().tests.size).toBe(14);
  // Whoever begins to iterate then gets what there was.
  const seen: RunSnapshot[] = [];
  for await (const snapshot of watch) seen.push(snapshot);
  expect(seen).toEqual([last()]);
});

it('the log is lost: all begins anew', async () => {
  const stream = scriptedStream();
  const { test } = run(stream);
  test('a', 'running');
  test('b', 'running');
  const { told, last } = watching(stream);
  await vi.waitFor(() => expect(told).toEqual(['current']));
  stream.reset();
  const again = run(stream);
  again.test('c', 'running');
  await vi.waitFor(() => expect(statuses(last())).toEqual(['c running']));
  expect(last()).toMatchObject({ isConsistent: true, run: { seq: 1, tests: { total: 1 } } });
  expect(told).toContain('reset');
});

it('a run that is refused is an error, told once', async () => {
  const stream = scriptedStream();
  stream.answer(404, 'not yours');
  stream.answer(404, 'not yours');
  const { told, watch } = watching(stream);
  await vi.waitFor(() => expect(told).toEqual(['not yours']));
  const states = watch[Symbol.asyncIterator]();
  await expect(states.next()).rejects.toMatchObject({ status: 404 });
  expect(stream.open).toBe(0);
});

it('a run and others share two streams, and end by themselves', async () => {
  const stream = scriptedStream();
  const { test, tell } = run(stream);
  test('a', 'running');
  const { client, told } = watching(stream);
  client.watchProject({ projectId: 'p', kind: 'job' });
  client.watchProject({ projectId: 'p', kind: 'test' });
  client.watchTest('a');
  client.watchJobRun('other');
  await vi.waitFor(() => expect(told).toEqual(['current']));
  await vi.waitFor(() => expect(stream.open).toBe(2), { timeout: 3_000 });
  test('a', 'passed');
  tell('passed');
  await vi.waitFor(() => expect(told).toEqual(['current', 'complete']), { timeout: 3_000 });
  expect(stream.open).toBe(2);
});

it('ten thousand tests cost no more than a few', () => {
  const state = (n: number, seq: number) => ({ testId: `t${n}`, seq }) as TestState;
  let tests = new Tests().with(Array.from({ length: 10_000 }, (_, n) => state(n, 1)));
  const first = tests;
  const started = performance.now();
  for (let change = 0; change < 6_000; change++) tests = tests.with([state((change * 37) % 10_000, 2)]);
  // Thirty seconds of 200 events each: copying all would take ten.
  expect(performance.now() - started).toBeLessThan(2_000);
  expect([first.size, tests.size, first.get('t37')?.seq, tests.get('t37')?.seq]).toEqual([
    10_000, 10_000, 1, 2,
  ]);
  expect([...tests.values()].filter(({ seq }) => seq === 2)).toHaveLength(6_000);
  expect([...tests.keys()][9_999]).toBe('t9999');
  expect(new Map(tests).size).toBe(10_000);
  expect(tests.get('unknown')).toBeUndefined();
  const seen: string[] = [];
  tests.forEach((_, testId) => {
    seen.push(testId);
  });
  expect(seen).toEqual([...tests.keys()]);
});

it('a burst of ten thousand tests is told in a few snapshots', async () => {
  const stream = scriptedStream();
  // The server's own counting would take most of the time.
  const all = Array.from({ length: 10_000 }, (_, n) => ({
    testId: `t${n}`,
    runId: 'r',
    status: 'running' as const,
  }));
  stream.tests(all);
  stream.job({ runId: 'r', status: 'running', tests: { ...countsOf([]), total: 10_000, running: 10_000 } });
  const { told, shown, last } = watching(stream);
  await vi.waitFor(() => expect(told).toEqual(['current']), { timeout: 20_000 });
  expect(last().tests.size).toBe(10_000);
  expect(last().isConsistent).toBe(true);
  expect(shown.length).toBeLessThan(200);
}, 30_000);
