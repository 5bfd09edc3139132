import { expect, it, onTestFinished, vi } from 'vitest';
import { jobState, scriptedStream, testState } from '../../testing/index.ts';
import { createClient, type JobState, type Status } from '../index.ts';
import { end, frame, opening, startServer } from './server.ts';

function connected() {
  const stream = scriptedStream();
  const client = createClient({ fetch: stream.fetch, random: () => 0 });
  onTestFinished(() => client.close());
  const told: string[] = [];
  const options = {
    onState: ({ runId, attempt, status }: JobState) => told.push(`${runId} ${attempt} ${status}`),
    onEnd: (reason: string) => told.push(reason),
  };
  return { stream, client, told, options };
}

const counts = (running: number, passed: number) => ({
  total: running + passed,
  waiting: 0,
  running,
  completed: 0,
  passed,
  failed: 0,
  error: 0,
  cancelled: 0,
  skipped: 0,
  flaky: 0,
});

it('a watch of several goes on where one of them is opened again', async () => {
  const { stream, client, told, options } = connected();
  stream.job({ runId: 'a', status: 'failed' });
  stream.job({ runId: 'b', status: 'running' });
  client.watchJobRun(['a', 'b'], options);
  await vi.waitFor(() => expect(told).toEqual(['a 1 failed', 'b 1 running']));
  // It stays on the stream, although it has ended.
  stream.end('rotate');
  await vi.waitFor(() => expect(stream.requests).toHaveLength(2));
  expect(stream.requests[1]?.url).toBe('/api/job-status/events?runId=a&runId=b');
  stream.job({ runId: 'a', status: 'running', attempt: 2 });
  stream.job({ runId: 'b', status: 'passed' });
  stream.job({ runId: 'a', status: 'passed', attempt: 2, flaky: true });
  await vi.waitFor(() => expect(told.at(-1)).toBe('complete'));
  expect(told.slice(2)).toEqual(['a 2 running', 'b 1 passed', 'a 2 passed', 'complete']);
});

it('a watch of one on a stream of several ends once nothing more comes, and not where it is opened again', async () => {
  const { stream, client, told, options } = connected();
  client.watchJobRun('b');
  client.watchJobRun('a', options);
  await vi.waitFor(() => expect(stream.open).toBe(1));
  stream.job({ runId: 'a', status: 'failed' });
  stream.job({ runId: 'a', status: 'waiting', attempt: 2 });
  await vi.waitFor(() => expect(told.at(-1)).toBe('a 2 waiting'));
  stream.job({ runId: 'a', status: 'skipped', attempt: 2 });
  await vi.waitFor(() => expect(told.at(-1)).toBe('complete'));
  expect(told).toEqual(['a 1 waiting', 'a 1 failed', 'a 2 waiting', 'a 2 skipped', 'complete']);
  expect(stream.open).toBe(1);
});

it('an end that was taken back while the connection was lost is not the end', async () => {
  const { stream, client, told, options } = connected();
  stream.job({ runId: 'a', status: 'running' });
  client.watchJobRun('a', options);
  await vi.waitFor(() => expect(told).toEqual(['a 1 running']));
  stream.drop();
  stream.job({ runId: 'a', status: 'error' });
  stream.job({ runId: 'a', status: 'running', attempt: 2 });
  await vi.waitFor(() => expect(told).toEqual(['a 1 running', 'a 1 error', 'a 2 running']));
  stream.job({ runId: 'a', status: 'passed', attempt: 2 });
  await vi.waitFor(() => expect(told.at(-1)).toBe('complete'));
});

it('what was over and is opened again can be watched again', async () => {
  const { stream, client, told, options } = connected();
  stream.job({ runId: 'a', status: 'failed' });
  // Still there, for another watch, when the next one comes.
  client.watchJobRun(['a', 'b']);
  client.watchJobRun('a', options);
  await vi.waitFor(() => expect(told).toEqual(['a 1 failed', 'complete']));
  stream.job({ runId: 'a', status: 'running', attempt: 2 });
  client.watchJobRun('a', options);
  await vi.waitFor(() => expect(told.at(-1)).toBe('a 2 running'));
});

it('a run that has ended waits for its tests: who saw the end saw the last counts', async () => {
  const { stream, client, told } = connected();
  client.watchJobRun('a', {
    onState: ({ status, tests }) => told.push(`${status} ${tests?.passed ?? 0}`),
    onEnd: (reason) => told.push(reason),
  });
  await vi.waitFor(() => expect(told).toEqual(['waiting 0']));
  stream.job({ runId: 'a', status: 'passed', tests: counts(1, 1) });
  await vi.waitFor(() => expect(told).toEqual(['waiting 0', 'passed 1']));
  stream.job({ runId: 'a', status: 'passed', tests: counts(0, 2) });
  await vi.waitFor(() => expect(told).toEqual(['waiting 0', 'passed 1', 'passed 2', 'complete']));
});

it('a run that has ended waits for tests that never end for ten seconds', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const { stream, client, told, options } = connected();
  stream.job({ runId: 'a', status: 'cancelled', tests: counts(1, 1) });
  client.watchJobRun('a', options);
  client.watchJobRun('b');
  await vi.advanceTimersByTimeAsync(9_900);
  expect(told).toEqual(['a 1 cancelled']);
  await vi.advanceTimersByTimeAsync(200);
  expect(told).toEqual(['a 1 cancelled', 'complete']);
});

it('a status that is not known yet, and fields that are not, are passed on', async () => {
  const server = await startServer();
  const client = createClient({ url: server.url, random: () => 0 });
  onTestFinished(() => client.close());
  const told: unknown[] = [];
  client.watchTest('t', {
    onState: ({ status, ...rest }) => told.push(status, 'weather' in rest),
    onEnd: (reason) => told.push(reason),
  });
  const exchange = await server.next();
  const later = { ...testState({ testId: 't', seq: 1 }), status: 'quarantined' as Status, weather: 'fine' };
  exchange.write(opening('s1') + frame(later, '1'));
  await vi.waitFor(() => expect(told).toEqual(['quarantined', true]));
  exchange.write(frame(testState({ testId: 't', seq: 2, status: 'passed' }), '2') + end('complete'));
  await vi.waitFor(() => expect(told).toEqual(['quarantined', true, 'passed', false, 'complete']));
});

it('a state of a server before attempts is passed on', async () => {
  const server = await startServer();
  const client = createClient({ url: server.url, random: () => 0 });
  onTestFinished(() => client.close());
  const ended = vi.fn();
  client.watchJobRun('r', { onEnd: ended });
  const { attempt, attempts, flaky, stale, ...earlier } = jobState({ runId: 'r', seq: 1, status: 'passed' });
  (await server.next()).write(opening('s1') + frame(earlier, '1') + end('complete'));
  await vi.waitFor(() => expect(ended).toHaveBeenCalledWith('complete'));
  expect([attempt, attempts, flaky, stale]).toEqual([1, [], false, false]);
});
