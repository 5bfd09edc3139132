import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { projectOf, reporting, run } from './tool.ts';
import { expectEachOnceInOrder, type State, Viewer } from './viewer.ts';

const PLAYWRIGHT = ['@playwright/test/cli.js', 'test'];

/** A report of Playwright's own. */
interface Report {
  suites: Suite[];
  stats: { expected: number; unexpected: number; flaky: number; skipped: number };
}
interface Suite {
  title: string;
  file: string;
  specs: { title: string; file: string; line: number; tests: Case[] }[];
  suites?: Suite[];
}
interface Case {
  projectName: string;
  status: 'expected' | 'unexpected' | 'flaky' | 'skipped';
  expectedStatus: string;
  results: { status: string; retry: number }[];
}

test('each test of a run ends as Playwright says, and a viewer has seen it live', async () => {
  const folder = projectOf('playwright');
  const viewer = await Viewer.of('pw');
  const seen = path.join(folder, 'seen');
  const env = reporting('pw', 'pw-1', { SEEN: seen, PLAYWRIGHT_JSON_OUTPUT_FILE: 'report.json' });
  const running = run(folder, PLAYWRIGHT, env);
  await viewer.until((state) => state.name === 'passes' && state.status === 'passed');
  fs.writeFileSync(seen, '');
  const outcome = await running;
  expect(outcome.code).toBe(1);
  expect(outcome.said).toEqual([expect.stringContaining('/#/runs/pw-1')]);

  const end = await viewer.end('pw-1');
  const report = JSON.parse(fs.readFileSync(path.join(folder, 'report.json'), 'utf8')) as Report;
  const told = [...viewer.last('pw-1').values()].map(lineOf).sort();
  expect(told).toEqual(linesOf(report).sort());
  expect(told.length).toBeGreaterThan(30);
  expect(end).toMatchObject({ status: 'failed', tests: { total: told.length, flaky: report.stats.flaky } });
  expect(end.progress).toMatchObject({ completed: told.length, total: told.length });
  expect(end.artifactPaths?.some((file) => file.endsWith('shot.txt'))).toBe(true);
  expectEachOnceInOrder(viewer.states);
});

test('shards are one run, of which merging their reports makes no other', async () => {
  const folder = projectOf('playwright');
  const viewer = await Viewer.of('pw-shards');
  const shard = (index: number) =>
    run(folder, [...PLAYWRIGHT, '-c', 'few.config.cjs', `--shard=${index}/2`], {
      ...reporting('pw-shards', 'pw-shards-1'),
      PLAYWRIGHT_BLOB_OUTPUT_FILE: `blobs/${index}.zip`,
    });
  const codes = (await Promise.all([shard(1), shard(2)])).map(({ code }) => code);
  expect(codes.toSorted()).toEqual([0, 1]);
  const end = await viewer.end('pw-shards-1');
  const tests = { total: 4, passed: 2, failed: 1, skipped: 1 };
  expect(end).toMatchObject({ status: 'failed', shards: { total: 2, ended: 2 }, tests });
  const ran = [...viewer.last('pw-shards-1').values()].filter(({ status }) => status !== 'skipped');
  expect(new Set(ran.map(({ labels }) => labels?.shard))).toEqual(new Set(['1/2', '2/2']));
  // What was expected, the code, where that is.
  const failed = ran.find(({ status }) => status === 'failed');
  expect(failed?.error).toMatch(/Expected: .*\d \| .* at .*few\.ts/s);
  for (const { labels } of ran) expect(labels?.worker).toMatch(/^\d$/);

  const merged = await run(
    folder,
    ['@playwright/test/cli.js', 'merge-reports', '-c', 'few.config.cjs', 'blobs'],
    reporting('pw-shards', 'merged'),
  );
  expect(merged).toMatchObject({ code: 0, said: [] });
  expect(merged.stdout).toContain('1 failed');
  expect(viewer.states.filter(({ runId }) => runId !== 'pw-shards-1')).toEqual([]);
  viewer.close();
});

test('a run that is interrupted is cancelled, and so is what runs; what did not run is skipped', async () => {
  const folder = projectOf('playwright');
  const viewer = await Viewer.of('pw-int');
  let interrupt = (_: NodeJS.Signals) => {};
  const env = reporting('pw-int', 'pw-int-1', { SEEN: 'never' });
  const running = run(folder, [...PLAYWRIGHT, 'outcomes', '--project=one', '--workers=1'], env, (kill) => {
    interrupt = kill;
  });
  await viewer.until(({ name, status }) => status === 'running' && name?.startsWith('waits') === true);
  interrupt('SIGINT');
  expect((await running).code).toBe(130);
  expect(await viewer.end('pw-int-1')).toMatchObject({
    status: 'cancelled',
    tests: { total: 12, passed: 1, cancelled: 1, skipped: 10 },
  });
  viewer.close();
});

test('a run that ends before its tests says why', async () => {
  const folder = projectOf('playwright');
  const viewer = await Viewer.of('pw-none');
  const few = [...PLAYWRIGHT, '-c', 'few.config.cjs'];
  const env = (runId: string, more = {}) => reporting('pw-none', runId, more);
  const [setup, none, list, stopped] = await Promise.all([
    run(folder, few, env('setup', { SETUP_FAILS: '1' })),
    run(folder, [...few, 'no-such-file'], env('none')),
    run(folder, [...few, '--list'], env('list')),
    run(folder, [...few, '--max-failures=1', '--retries=1'], env('stopped')),
  ]);
  expect([setup, none, list, stopped].map(({ code }) => code)).toEqual([1, 1, 0, 1]);
  expect(list.said).toEqual([]);
  const failed = await viewer.end('setup');
  expect(failed).toMatchObject({ status: 'failed', name: 'Few', tests: null });
  expect(failed.errorDetails).toContain('no server');
  expect(await viewer.end('none')).toMatchObject({ status: 'failed', tests: null });
  expect((await viewer.end('none')).errorDetails).toContain('No tests found');
  // The first of them failed, twice; the others were not run.
  expect(await viewer.end('stopped')).toMatchObject({
    status: 'failed',
    tests: { total: 4, failed: 1, skipped: 3 },
  });
  expect(viewer.states.filter(({ runId }) => runId === 'list')).toEqual([]);
  expectEachOnceInOrder(viewer.states);
  viewer.close();
});

/** A test as Runcast shows it: where it stands, how it ended, how each attempt did. */
function lineOf(state: State): string {
  const { file, line, suite, name, status, attempts, flaky } = state;
  const tries = [...(attempts ?? []).map((attempt) => attempt.status), status];
  return `${file}:${line} ${suite} ${name}: ${tries.join(', ')}${flaky ? ' (flaky)' : ''}`;
}

/** The same of Playwright's report. */
function linesOf(report: Report): string[] {
  const lines: string[] = [];
  const visit = (suite: Suite, titles: string[]) => {
    for (const spec of suite.specs) {
      const repeats = new Map<string, number>();
      for (const test of spec.tests) {
        const repeat = repeats.get(test.projectName) ?? 0;
        repeats.set(test.projectName, repeat + 1);
        const where = [test.projectName, ...titles].join(' › ');
        const name = cut(repeat > 0 ? `${spec.title} (repeat ${repeat})` : spec.title);
        const tries = test.results.map((result) => wordOf(result.status, test.expectedStatus));
        const flaky = test.status === 'flaky' ? ' (flaky)' : '';
        lines.push(`${spec.file}:${spec.line} ${where} ${name}: ${tries.join(', ')}${flaky}`);
        // The report's own verdict.
        const verdict = {
          expected: ['passed'],
          unexpected: ['failed', 'error'],
          flaky: ['passed'],
          skipped: ['skipped'],
        };
        expect(verdict[test.status]).toContain(tries.at(-1));
      }
    }
    for (const inner of suite.suites ?? []) visit(inner, [...titles, inner.title]);
  };
  for (const file of report.suites) visit(file, []);
  return lines;
}

function wordOf(status: string, expectedStatus: string): string {
  if (status === 'skipped') return 'skipped';
  if (status === expectedStatus) return 'passed';
  return status === 'timedOut' ? 'error' : 'failed';
}

function cut(text: string): string {
  return Buffer.from(text).subarray(0, 512).toString();
}
