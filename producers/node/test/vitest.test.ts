import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, inject, test } from 'vitest';
import { RUNCAST } from './stack.ts';
import { projectOf, reporting, run } from './tool.ts';
import { expectEachOnceInOrder, type State, Viewer } from './viewer.ts';

const VITEST = ['vitest/vitest.mjs', 'run'];

/** A report of Vitest's own. */
interface Report {
  numTotalTests: number;
  testResults: {
    name: string;
    status: string;
    assertionResults: {
      ancestorTitles: string[];
      title: string;
      status: string;
      location?: { line: number };
    }[];
  }[];
}

describe.each([
  ['Vitest 4', 'vitest4', {}],
  ['Vitest 3', 'vitest3', { vitest: 'vitest3' }],
])('%s', (_, project, tool: Record<string, string>) => {
  test('each test of a run ends as it says, and a viewer has seen it live', async () => {
    const folder = projectOf('vitest', tool);
    // Where a worker dies, Vitest 3 does itself.
    if (project === 'vitest3') fs.rmSync(path.join(folder, 'crash.test.ts'));
    const viewer = await Viewer.of(project);
    const seen = path.join(folder, 'seen');
    const running = run(folder, VITEST, reporting(project, `${project}-1`, { SEEN: seen }));
    await viewer.until((state) => state.name === 'passes' && state.status === 'passed');
    fs.writeFileSync(seen, '');
    const outcome = await running;
    expect(outcome.code).toBe(1);
    expect(outcome.said).toEqual([expect.stringContaining(`/#/runs/${project}-1`)]);

    const end = await viewer.end(`${project}-1`);
    const report = JSON.parse(fs.readFileSync(path.join(folder, 'report.json'), 'utf8')) as Report;
    const tests = [...viewer.last(`${project}-1`).values()];
    // What Vitest says of files and suites is no test to it.
    const isTest = ({ file, name }: State) => file !== name && name !== 'whose beforeAll fails';
    expect(tests.filter(isTest).map(lineOf).sort()).toEqual(linesOf(folder, report).sort());
    expect(tests.filter(isTest)).toHaveLength(report.numTotalTests);
    expect(
      tests
        .filter((state) => !isTest(state))
        .map(({ name, status }) => [name, status])
        .sort(),
    ).toEqual([
      ['import.test.ts', 'error'],
      ['whose beforeAll fails', 'error'],
    ]);
    const named = (name: string) => tests.find((state) => state.name === name);
    expect(named('fails, then passes')).toMatchObject({ status: 'passed', flaky: true, attempt: 2 });
    expect(named('fails twice')?.attempts).toMatchObject([{ attempt: 1, status: 'failed' }]);
    expect(named('fails twice')?.error).toContain('expected 1 to be 2');
    expect(named('fails')?.error).toContain('"a": 2');
    expect(named('has an error of 1 MB')?.error?.length).toBeGreaterThan(1000);
    expect(end).toMatchObject({ status: 'failed', tests: { total: tests.length, flaky: 1 } });
    if (project !== 'vitest3') expect(end.errorDetails).toContain('Worker exited unexpectedly');
    expectEachOnceInOrder(viewer.states);
    viewer.close();
  });
});

test('a run whose tool breaks down has ended, too', async () => {
  const folder = projectOf('vitest', { vitest: 'vitest3' });
  const viewer = await Viewer.of('broken');
  const outcome = await run(folder, [...VITEST, 'crash.test.ts'], reporting('broken', 'broken-1'));
  expect(outcome.stderr).toContain('Channel closed');
  expect(await viewer.end('broken-1')).toMatchObject({ status: 'error' });
  viewer.close();
});

test('a run that is interrupted is cancelled, and so is what runs', async () => {
  const folder = projectOf('vitest');
  const viewer = await Viewer.of('interrupted');
  let interrupt = (_: NodeJS.Signals) => {};
  const env = reporting('interrupted', 'interrupted-1', { SEEN: 'never' });
  const running = run(folder, [...VITEST, 'outcomes.test.ts'], env, (kill) => {
    interrupt = kill;
  });
  await viewer.until(({ name, status }) => status === 'running' && name?.startsWith('waits') === true);
  interrupt('SIGINT');
  const outcome = await running;
  expect(outcome.code).toBe(130);
  const end = await viewer.end('interrupted-1');
  expect(end).toMatchObject({ status: 'cancelled', tests: { passed: 1, cancelled: 1 } });
  viewer.close();
});

test('eight shards at once are one run', async () => {
  const folder = projectOf('shards');
  const viewer = await Viewer.of('shards');
  const env = reporting('shards', 'shards-1');
  const shards = Array.from({ length: 8 }, (_, index) =>
    run(folder, [...VITEST, `--shard=${index + 1}/8`], env),
  );
  const codes = (await Promise.all(shards)).map(({ code }) => code);
  expect(codes.toSorted()).toEqual([0, 0, 0, 0, 0, 0, 0, 1]);
  const end = await viewer.end('shards-1');
  expect(end).toMatchObject({
    status: 'failed',
    shards: { total: 8, ended: 8 },
    tests: { total: 16, passed: 15, failed: 1 },
    progress: { completed: 16, total: 16 },
  });
  const ends = viewer.states.filter(({ kind, status }) => kind === 'job' && status !== 'running');
  expect(ends.map(({ status }) => status)).toEqual(['failed']);
  viewer.close();
});

test('in watch mode each run again is a run of its own', async () => {
  const folder = projectOf('shards');
  const viewer = await Viewer.of('watched');
  let interrupt = (_: NodeJS.Signals) => {};
  const watching = run(
    folder,
    ['vitest/vitest.mjs', '--watch', 'part1', 'part2'],
    reporting('watched', 'w'),
    (kill) => {
      interrupt = kill;
    },
  );
  expect(await viewer.end('w')).toMatchObject({ status: 'passed', tests: { total: 4, passed: 4 } });
  fs.appendFileSync(path.join(folder, 'part1.test.ts'), "\ntest('passes, as well', () => {});\n");
  expect(await viewer.end('w-2')).toMatchObject({
    status: 'passed',
    rerunOf: 'w',
    tests: { total: 3, passed: 3 },
  });
  interrupt('SIGINT');
  const { said } = await watching;
  expect(said.map((line) => line.split('/').at(-1))).toEqual(['w', 'w-2']);
  viewer.close();
});

test('within `runcast run` it is the run of that, which ends it', async () => {
  const folder = projectOf('shards');
  // Who has no token is given one, for this project.
  const viewer = await Viewer.of('demo');
  const { PATH = '', HOME = '' } = process.env;
  const env = { PATH, HOME, RUNCAST_URL: inject('stack').url, RUNCAST_RUN_ID: 'within' };
  const vitest = [process.execPath, 'node_modules/vitest/vitest.mjs', 'run', 'part1', 'part5'];
  const options = { cwd: folder, env };
  const failed = await promisify(execFile)(RUNCAST, ['run', '--', ...vitest], options).catch(
    (error) => error,
  );
  expect(failed).toMatchObject({ code: 1 });
  expect(failed.stderr.match(/watch this run/g)).toHaveLength(1);
  const end = await viewer.end('within');
  expect(end).toMatchObject({
    status: 'failed',
    errorDetails: 'exit code 1',
    tests: { total: 4, passed: 3, failed: 1 },
  });
  viewer.close();
});

function lineOf({ file, line, suite, name, status }: State): string {
  return `${file}:${line} ${suite ?? ''} ${name}: ${status}`;
}

function linesOf(folder: string, report: Report): string[] {
  return report.testResults.flatMap(({ name, assertionResults }) =>
    assertionResults.map(({ ancestorTitles, title, status, location }) => {
      // `pending`: its worker was lost.
      const words: Record<string, string> = { todo: 'skipped', pending: 'error' };
      const where = `${path.relative(folder, name)}:${location?.line ?? null}`;
      return `${where} ${ancestorTitles.join(' > ')} ${title}: ${words[status] ?? status}`;
    }),
  );
}
