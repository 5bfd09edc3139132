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
