import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, inject, test } from 'vitest';
import { type Deed, serverThat } from './server.ts';
import { RUNCAST } from './stack.ts';
import { type Outcome, projectOf, reporting, run } from './tool.ts';
import { expectEachOnceInOrder, Viewer } from './viewer.ts';

const TOOLS = {
  playwright: ['@playwright/test/cli.js', 'test'],
  vitest: ['vitest/vitest.mjs', 'run'],
} as const;

const ALL = { status: 'failed', tests: { total: 3, passed: 2, failed: 1 } };

/** What a tool says, but for how long it took, and what it did in which folder. */
function saidBy({ code, signal, stdout, stderr }: Outcome) {
  const plain = (text: string) =>
    text.replace(
      /\d+(\.\d+)?(ms|s)\b|\d\d:\d\d:\d\d|\b(transform|setup|import|tests|environment|prepare)\b|suite-\w+/g,
      '',
    );
  return { code, signal, stdout: plain(stdout), stderr: plain(stderr) };
}

/** How each tool runs without the reporter: measured beside the first run with it. */
const plain = new Map<string, Outcome>();

/** Runs a tool with the reporter, which must make no difference but 2 s. */
async function runBeside(tool: keyof typeof TOOLS, env: Record<string, string>) {
  const command = [...TOOLS[tool]];
  const folder = projectOf('faults');
  const known = plain.get(tool) ?? run(projectOf('faults'), command);
  const [without, outcome] = await Promise.all([known, run(folder, command, env)]);
  plain.set(tool, without);
  expect(saidBy(outcome)).toEqual(saidBy(without));
  expect(without.code).toBe(1);
  // Where others had the machine meanwhile, both are measured anew.
  if (outcome.ms >= without.ms + 2000) plain.delete(tool);
  expect(outcome.ms).toBeLessThan(without.ms + 2000);
  return { ...outcome, folder };
}

function keptIn(folder: string): string[] {
  const spool = path.join(folder, '.runcast');
  const files = fs.existsSync(spool) ? fs.readdirSync(spool) : [];
  return files.filter((name) => name.endsWith('.jsonl')).map((name) => path.join(spool, name));
}

describe.each(['playwright', 'vitest'] as const)('%s', (tool) => {
  const options = { retry: 2 };

  test(
    'runs as without where the server is away, and what was kept is sent by `runcast import`',
    options,
    async () => {
      const project = `${tool}-away`;
      const env = reporting(project, project, { RUNCAST_URL: 'http://127.0.0.1:9' });
      const { said, folder } = await runBeside(tool, env);
      expect(said.at(-1)).toMatch(
        /^runcast: could not send \d+ updates \(.*ECONNREFUSED.*\): the next run does, or runcast import \.runcast/,
      );
      const files = keptIn(folder);
      expect(files).toHaveLength(1);
      const { url, writeToken } = inject('stack');
      const to = { RUNCAST_URL: url, RUNCAST_TOKEN: writeToken, RUNCAST_PROJECT: project };
      const viewer = await Viewer.of(project);
      execFileSync(RUNCAST, ['import', ...files], { env: { ...process.env, ...to } });
      expect(await viewer.end(project)).toMatchObject(ALL);
      viewer.close();
    },
  );

  test.each<[string, Deed]>([
    ['does not answer', 'hang'],
    ['answers 503', { status: 503 }],
    ['answers 429', { status: 429, retryAfter: '60' }],
  ])('runs as without where the server %s', options, async (_, deed) => {
    const { url } = await serverThat(() => deed);
    const { folder } = await runBeside(tool, reporting('p', `${tool}-away`, { RUNCAST_URL: url }));
    expect(keptIn(folder)).toHaveLength(1);
  });

  test('runs as without where the token is wrong, and asks no second time', options, async () => {
    const { url, requests } = await serverThat(() => 'pass');
    const env = reporting('p', `${tool}-token`, { RUNCAST_URL: url, RUNCAST_TOKEN: 'wrong' });
    const { said, folder } = await runBeside(tool, env);
    expect(said.filter((line) => line.includes('nothing is sent at present: Unauthorized'))).toHaveLength(1);
    expect(requests).toHaveLength(1);
    expect(keptIn(folder)).toHaveLength(1);
  });

  test('tells all, once, where the server was away in between', options, async () => {
    const project = `${tool}-between-${crypto.randomUUID()}`;
    const answers: Deed[] = [
      'pass',
      'reset',
      { status: 503, retryAfter: '0' },
      { status: 429, retryAfter: '1' },
      { status: 502 },
    ];
    const { url } = await serverThat((count) => answers[count - 1] ?? 'pass');
    const viewer = await Viewer.of(project);
    const { said, folder } = await runBeside(tool, reporting(project, project, { RUNCAST_URL: url }));
    const end = await viewer.end(project);
    expect(end).toMatchObject(ALL);
    expect(said.filter((line) => line.includes('could not send'))).toEqual([]);
    expect(keptIn(folder)).toEqual([]);
    expectEachOnceInOrder(viewer.states);
    viewer.close();
  });
});

test('what a run could not send is sent by the next', async () => {
  const folder = projectOf('faults');
  const project = `next-${crypto.randomUUID()}`;
  let isAway = true;
  const { url } = await serverThat(() => (isAway ? { status: 503, retryAfter: '60' } : 'pass'));
  const env = (runId: string) => reporting(project, runId, { RUNCAST_URL: url });
  const viewer = await Viewer.of(project);
  await run(folder, [...TOOLS.vitest], env('one'));
  expect(keptIn(folder)).toHaveLength(1);
  expect(viewer.states).toEqual([]);
  isAway = false;
  const { said } = await run(folder, [...TOOLS.vitest], env('two'));
  expect(said).toHaveLength(1);
  expect(await viewer.end('one')).toMatchObject(ALL);
  expect(await viewer.end('two')).toMatchObject(ALL);
  expect(keptIn(folder)).toEqual([]);
  viewer.close();
});

test('without a server to send to, one line says what to set', async () => {
  const folder = projectOf('faults');
  const { said, code } = await run(folder, [...TOOLS.vitest], { REPORTED: '1' });
  expect(said).toEqual(['runcast: nothing is reported: set RUNCAST_URL and RUNCAST_TOKEN']);
  expect(code).toBe(1);
  const without = await run(folder, [...TOOLS.vitest], { REPORTED: '1', RUNCAST_URL: 'not an address' });
  expect(without.said).toEqual([expect.stringContaining('RUNCAST_URL is no address: not an address')]);
});
