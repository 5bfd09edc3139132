import type { TestState } from 'runcast-client';
import { testState } from 'runcast-client/testing';
import { expect, it } from 'vitest';
import { lanesOf } from '../src/lanes.ts';

const NOW = 100_000;

/** A test that began then, and took so long. */
const ran = (testId: string, from: number, durationMs: number, labels: TestState['labels'] = null) =>
  testState({
    testId,
    status: 'passed',
    startedAt: new Date(from).toISOString(),
    completedAt: new Date(NOW).toISOString(),
    durationMs,
    labels,
  });

const shown = (tests: TestState[]) =>
  lanesOf(tests, NOW).map(({ name, spans }) => [name, spans.map(({ test }) => test.testId).join(' ')]);

it('tests that overlap nowhere share a lane', () => {
  expect(shown([ran('c', 20, 10), ran('a', 0, 10), ran('b', 10, 10), ran('d', 5, 10)])).toEqual([
    ['', 'a b c'],
    ['', 'd'],
  ]);
});

it('each shard has lanes of its own, named once, in the order of numbers', () => {
  const shard = (of: string) => ({ shard: of });
  expect(
    shown([
      ran('a', 0, 10, shard('10/12')),
      ran('b', 20, 10, shard('2/12')),
      ran('c', 20, 10, shard('10/12')),
      ran('d', 25, 10, shard('2/12')),
    ]),
  ).toEqual([
    ['shard 2/12', 'b'],
    ['', 'd'],
    ['shard 10/12', 'a c'],
  ]);
});

it('where tests say on which shard and worker they ran, a lane is a worker of a shard', () => {
  expect(
    shown([
      ran('a', 0, 10, { shard: '2/2', worker: '0' }),
      ran('b', 10, 10, { shard: '1/2', worker: '1' }),
      ran('c', 20, 10, { shard: '1/2', worker: '0' }),
      ran('d', 30, 10, { shard: '1/2', worker: '1' }),
    ]),
  ).toEqual([
    ['shard 1/2 · 0', 'c'],
    ['shard 1/2 · 1', 'b d'],
    ['shard 2/2 · 0', 'a'],
  ]);
});

it('workers alone are lanes, too, and otherwise what else is said', () => {
  const on = (labels: TestState['labels']) => [ran('a', 0, 10, labels), ran('b', 20, 10)];
  expect(shown(on({ worker: '1', project: 'webkit' })).map(([name]) => name)).toEqual(['', 'worker 1']);
  expect(shown(on({ browser: 'webkit', project: 'mobile' })).map(([name]) => name)).toEqual([
    '',
    'project mobile',
  ]);
});

it('what runs lasts until now, and what has not begun is on no lane', () => {
  const startedAt = new Date(50).toISOString();
  const [lane, ...others] = lanesOf(
    [
      testState({ testId: 'runs', status: 'running', startedAt }),
      testState({ testId: 'waits', status: 'waiting' }),
    ],
    NOW,
  );
  expect(others).toEqual([]);
  expect(lane?.spans).toMatchObject([{ test: { testId: 'runs' }, from: 50, to: NOW }]);
});

it('without a duration a test lasts until it was told to have ended', () => {
  const [lane] = lanesOf([{ ...ran('a', 50, 0), durationMs: null }], NOW);
  expect(lane?.spans).toMatchObject([{ from: 50, to: NOW }]);
});
