import fs from 'node:fs';
import path from 'node:path';
import { expect, inject, onTestFinished, test, vi } from 'vitest';
import { createReporter, type ReporterOptions } from '../src/index.ts';
import { serverThat } from './server.ts';
import { projectOf, reporting, run } from './tool.ts';
import { expectEachOnceInOrder, Viewer } from './viewer.ts';

/** A reporter of this process, what it says, and where it keeps what it cannot send. */
function reporterOf(project: string, options: ReporterOptions = {}) {
  const said: string[] = [];
  const write = vi.spyOn(process.stderr, 'write').mockImplementation((line) => {
    said.push(String(line));
    return true;
  });
  const spool = path.join(projectOf('shards'), 'spool');
  onTestFinished(() => write.mockRestore());
  const { url, writeToken: token } = inject('stack');
  return { reporter: createReporter({ url, token, project, spool, ...options }), said, spool };
}

test.each(['naturally', 'at-once', 'thrown'])('a process that ends %s has sent all', async (how) => {
  const folder = projectOf('../scripts');
  const project = `ends-${how}`;
  const viewer = await Viewer.of(project);
  const { code, said } = await run(folder, ['../ends.mjs', how], reporting(project, project));
  expect([code, said]).toEqual([how === 'thrown' ? 1 : 0, []]);
  expect((await viewer.end(project)).status).toBe('passed');
  expectEachOnceInOrder(viewer.states);
  viewer.close();
});

test('what the server will not take is told, and holds nothing else up', async () => {
  const { reporter, said } = reporterOf('refused');
  const viewer = await Viewer.of('refused');
  reporter.send({ kind: 'job', id: 'no id', status: 'passed' });
  reporter.send({ kind: 'job', id: 'r1', status: 'passed' });
  const cycle: Record<string, unknown> = {};
  cycle.itself = cycle;
  reporter.send({ kind: 'job', id: 'r1', labels: cycle as Record<string, string> });
  reporter.send({ kind: 'job', id: 'r1', url: 'x'.repeat(1_100_000) });
  await reporter.close();
  expect((await viewer.end('r1')).status).toBe('passed');
  expect(reporter.counts).toEqual({ taken: 1, refused: 1, lost: 2 });
  expect(said).toEqual([
    expect.stringMatching(/^runcast: the server refused 1 update: .*id/),
    'runcast: lost 2 updates: too large, or there was no room\n',
  ]);
  viewer.close();
});

test.each([
  ['00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', true],
  ['', false],
  ['not\none', false],
])('what is sent is of the trace of its process: %j', async (given, isSent) => {
  vi.stubEnv('TRACEPARENT', given);
  onTestFinished(() => void vi.unstubAllEnvs());
  const sent: unknown[] = [];
  const { url } = await serverThat((_, request) => {
    sent.push(request.headers.traceparent);
    return 'pass';
  });
  const { reporter } = reporterOf('traced', { url });
  reporter.send({ kind: 'job', id: 'r1', status: 'passed' });
  await reporter.close();
  expect(reporter.counts).toMatchObject({ lost: 0 });
  expect(sent).toEqual([isSent ? given : undefined]);
});

test('a token that has run out is fetched anew', async () => {
  const { writeToken } = inject('stack');
  let count = 0;
  const { url } = await serverThat((number) => (number === 2 ? { status: 401 } : 'pass'));
  const token = async () => {
    count += 1;
    return writeToken;
  };
  const { reporter, said } = reporterOf('renewed', { url, token });
  reporter.send({ kind: 'job', id: 'renewed', status: 'running' });
  await reporter.flush();
  reporter.send({ kind: 'job', id: 'renewed', status: 'passed' });
  await reporter.close();
  expect([count, reporter.counts.taken, said]).toEqual([2, 2, []]);
});

test('the local stack gives who has no token one', async () => {
  const { reporter } = reporterOf('demo', { token: undefined });
  reporter.send({ kind: 'job', id: 'local-token', status: 'passed' });
  await reporter.close();
  expect(reporter.counts).toEqual({ taken: 1, refused: 0, lost: 0 });
});

test('a batch that is too large is sent in parts, and packed where that arrives', async () => {
  const encodings: (string | undefined)[] = [];
  const { url } = await serverThat((count, request) => {
    encodings.push(request.headers['content-encoding']);
    return count === 1 ? { status: 413 } : count === 2 ? { status: 400 } : 'pass';
  });
  const { reporter } = reporterOf('parts', { url });
  const viewer = await Viewer.of('parts');
  for (let index = 0; index < 100; index++) {
    reporter.send({ kind: 'test', id: `part-${index}`, status: 'passed', name: 'x'.repeat(100) });
  }
  await reporter.flush(10_000);
  await viewer.until(({ testId }) => testId === 'part-99');
  expect(reporter.counts).toEqual({ taken: 100, refused: 0, lost: 0 });
  expect(viewer.states.map(({ testId }) => testId)).toEqual(
    Array.from({ length: 100 }, (_, index) => `part-${index}`),
  );
  expect(encodings).toEqual(['gzip', 'gzip', undefined, undefined]);
  await reporter.close();
  viewer.close();
});

test('what is kept for one server is not sent to another', async () => {
  const away = reporterOf('kept', { url: 'http://127.0.0.1:9' });
  away.reporter.send({ kind: 'job', id: 'kept', status: 'passed' });
  await away.reporter.close();
  const files = () => fs.readdirSync(away.spool).filter((name) => name.endsWith('.jsonl'));
  expect(files()).toHaveLength(1);
  const other = reporterOf('kept', { spool: away.spool });
  other.reporter.send({ kind: 'job', id: 'other', status: 'passed' });
  await other.reporter.close();
  expect([files().length, other.reporter.counts.taken]).toEqual([1, 1]);
});

test('a folder that cannot be written to is told, and no more', async () => {
  const { reporter, said } = reporterOf('full', { url: 'http://127.0.0.1:9', spool: '/dev/null/spool' });
  reporter.send({ kind: 'job', id: 'full', status: 'passed' });
  await reporter.close();
  expect(said).toEqual([
    expect.stringMatching(/could not send 1 update \(.*ECONNREFUSED.*\), nor keep them: /),
  ]);
});
