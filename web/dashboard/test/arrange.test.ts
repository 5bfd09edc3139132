import type { TestState } from 'runcast-client';
import { testState } from 'runcast-client/testing';
import { expect, it } from 'vitest';
import { type Arrangement, arrange, failuresOf } from '../src/arrange.ts';

const all: Arrangement = { grouping: 'status', standing: undefined, search: '', closed: new Set() };

/** Headings with their counts, and below each its tests. */
function shown(tests: TestState[], by: Partial<Arrangement> = {}): string[] {
  return arrange(tests, { ...all, ...by }).map((item) =>
    item.kind === 'group' ? `# ${item.title} ${item.count}` : item.test.testId,
  );
}

const tests = [
  testState({ testId: 'p10', status: 'passed', file: 'a.ts', line: 10, durationMs: 5 }),
  testState({ testId: 'p9', status: 'passed', file: 'a.ts', line: 9, durationMs: 900 }),
  testState({ testId: 'e', status: 'error', file: 'b.ts', line: 1, error: '\u001b[31mToo Late\u001b[39m' }),
  testState({ testId: 'f', status: 'failed', file: 'a.ts', line: 30, durationMs: 70 }),
  testState({ testId: 'k', status: 'passed', flaky: true, file: 'c.ts', labels: { browser: 'WebKit' } }),
  testState({ testId: 's', status: 'skipped', suite: 'sums' }),
  testState({ testId: 'r', status: 'running', name: 'runs' }),
];

it('what went wrong stands first, and in each group the order is that of the code', () => {
  expect(shown(tests)).toEqual([
    ...['# Failed 2', 'f', 'e'],
    ...['# Running 1', 'r'],
    ...['# Flaky 1', 'k'],
    ...['# Skipped 1', 's'],
    ...['# Passed 2', 'p9', 'p10'],
  ]);
});

it('of files, those with a failure stand first, and so do their failures', () => {
  expect(shown(tests, { grouping: 'file' })).toEqual([
    ...['# a.ts 3', 'f', 'p9', 'p10'],
    ...['# b.ts 1', 'e'],
    ...['# No file 1', 'r'],
    ...['# c.ts 1', 'k'],
    ...['# sums 1', 's'],
  ]);
});

it('a group says how long those that have ended took together', () => {
  const groups = arrange(tests, { ...all, grouping: 'file' }).filter((item) => item.kind === 'group');
  expect(groups.map(({ title, tookMs }) => [title, tookMs]).slice(0, 2)).toEqual([
    ['a.ts', 975],
    ['b.ts', 0],
  ]);
});

it('numbers in names are in the order of numbers', () => {
  const named = ['case 10', 'case 9'].map((name) => testState({ testId: name, name, status: 'passed' }));
  expect(shown(named).slice(1)).toEqual(['case 9', 'case 10']);
});

it('by duration what took longest stands first, without groups', () => {
  expect(shown(tests, { grouping: 'duration' }).slice(0, 3)).toEqual(['p9', 'f', 'p10']);
});

it('only what stands so, or has what is searched for, in any case', () => {
  expect(shown(tests, { standing: 'flaky' })).toEqual(['# Flaky 1', 'k']);
  expect(shown(tests, { search: 'WEBKIT' })).toEqual(['# Flaky 1', 'k']);
  expect(shown(tests, { search: 'too late' })).toEqual(['# Failed 1', 'e']);
  expect(shown(tests, { search: '[31m' })).toEqual([]);
});

it('of a closed group its heading stays', () => {
  expect(shown(tests, { closed: new Set(['status failed']) }).slice(0, 3)).toEqual([
    '# Failed 2',
    '# Running 1',
    'r',
  ]);
});

it('failures are gone through in the order of the list', () => {
  expect(failuresOf(tests).map(({ testId }) => testId)).toEqual(['f', 'e']);
});

it('many stand as they came', () => {
  const many = Array.from({ length: 1_001 }, (_, n) =>
    testState({ testId: `t${n}`, line: 2_000 - n, status: 'passed' }),
  );
  expect(shown(many).slice(1, 3)).toEqual(['t0', 't1']);
  expect(shown(many.slice(0, 1_000)).slice(1, 3)).toEqual(['t999', 't998']);
});

it('a status that this version does not know goes on', () => {
  expect(shown([testState({ testId: 'n', status: 'paused' as 'running' })])).toEqual(['# Running 1', 'n']);
});
