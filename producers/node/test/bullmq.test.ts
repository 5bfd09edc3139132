import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, UnrecoverableError, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { expect, inject, onTestFinished, test, vi } from 'vitest';
import { forwardJobs } from '../src/bullmq.ts';
import { fitted, runIdOf } from '../src/jobs.ts';
import { expectEachOnceInOrder, type State, Viewer } from './viewer.ts';

/** A queue of BullMQ, and what a viewer sees of its jobs. */
async function queueOf(name: string) {
  const { redisUrl, url, writeToken } = inject('stack');
  const connection = new Redis(redisUrl, { maxRetriesPerRequest: null });
  const queue = new Queue(name, { connection });
  const viewer = await Viewer.of(name);
  const forward = () => forwardJobs(name, { connection, url, token: () => writeToken, project: name });
  onTestFinished(async () => {
    viewer.close();
    await queue.close();
    connection.disconnect();
  });
  const until = (job: string, status: string) =>
    viewer.until((state) => state.runId === `${name}-${job}` && state.status === status);
  return { connection, queue, viewer, forward, until };
}

function storyOf(states: State[], runId: string): string[] {
  const of = states.filter((state) => state.runId === runId);
  return of.map(
    ({ status, attempt, progress }) => `${attempt} ${status}${progress ? ` ${progress.completed}` : ''}`,
  );
}

test('each job is a run whose whole life is seen, and ends as BullMQ says', async () => {
  const { connection, queue, viewer, forward, until } = await queueOf('imports');
  const forwarder = await forward();
  await queue.addBulk([
    { name: 'job', data: { parts: 2 }, opts: { jobId: 'good' } },
    { name: 'job', data: {}, opts: { jobId: 'bad', attempts: 2, backoff: 10 } },
    { name: 'job', data: { passesAt: 2 }, opts: { jobId: 'flaky', attempts: 3 } },
    { name: 'job', data: { isHopeless: true }, opts: { jobId: 'hopeless', attempts: 5 } },
    { name: 'job', data: { parts: 0 }, opts: { jobId: 'later', delay: 50 } },
    { name: 'job', data: {}, opts: { jobId: 'removed', delay: 3_600_000 } },
    { name: 'job', data: {}, opts: { jobId: 'drained', delay: 3_600_000 } },
  ]);
  const worker = new Worker(
    'imports',
    async (job) => {
      if (job.data.isHopeless) throw new UnrecoverableError('never');
      if (job.data.passesAt) {
        if (job.attemptsMade + 1 < job.data.passesAt) throw new Error('not yet');
        return;
      }
      if (job.data.parts === undefined) throw new Error('nothing to import');
      for (let completed = 1; completed <= job.data.parts; completed++) {
        await job.updateProgress({ completed, total: job.data.parts, message: 'importing' });
      }
    },
    { connection },
  );
  await Promise.all([until('removed', 'waiting'), until('drained', 'waiting')]);
  await (await queue.getJob('removed'))?.remove();
  await Promise.all([until('good', 'completed'), until('flaky', 'completed'), until('later', 'completed')]);
  await Promise.all([until('bad', 'failed'), until('hopeless', 'failed'), until('removed', 'cancelled')]);

  for (const jobId of ['good', 'bad', 'flaky', 'hopeless', 'later', 'drained']) {
    const state = (await queue.getJobState(jobId)) as string;
    const last = viewer.states.findLast(({ runId }) => runId === `imports-${jobId}`);
    expect([jobId, last?.status]).toEqual([jobId, state === 'delayed' ? 'waiting' : state]);
    expect([jobId, last?.attempt]).toEqual([jobId, (await queue.getJob(jobId))?.attemptsMade || 1]);
  }
  await queue.drain(true);
  await until('drained', 'cancelled');

  expect(storyOf(viewer.states, 'imports-good')).toEqual([
    '1 waiting',
    '1 running',
    '1 running 1',
    '1 running 2',
    '1 completed 2',
  ]);
  const flaky = await until('flaky', 'completed');
  expect(flaky).toMatchObject({
    flaky: true,
    attempts: [{ attempt: 1, status: 'failed', error: 'not yet' }],
  });
  expect(await until('bad', 'failed')).toMatchObject({ attempt: 2, errorDetails: 'nothing to import' });
  expectEachOnceInOrder(viewer.states);
  await worker.close();
  await forwarder.close();
});

test('a job whose worker is lost waits, and is taken again', async () => {
  const { connection, queue, viewer, forward, until } = await queueOf('stalls');
  const forwarder = await forward();
  await queue.add('job', {}, { jobId: 'lost' });
  const dead = new Worker('stalls', null, { connection, lockDuration: 50 });
  await dead.getNextJob('dead', { block: false });
  await dead.close();
  await until('lost', 'running');
  const worker = new Worker('stalls', async () => {}, { connection, stalledInterval: 100 });
  await until('lost', 'completed');
  expect(storyOf(viewer.states, 'stalls-lost')).toEqual([
    '1 waiting',
    '1 running',
    '1 waiting',
    '1 running',
    '1 completed',
  ]);
  await worker.close();
  await forwarder.close();
});

test('what happened while nobody forwarded is told by the next, once', async () => {
  const { connection, queue, viewer, forward, until } = await queueOf('restarts');
  const first = await forward();
  await queue.add('job', {}, { jobId: 'over', delay: 3_600_000 });
  await queue.add('job', {}, { jobId: 'gone', delay: 3_600_000 });
  await queue.add('job', {}, { jobId: 'again', attempts: 2 });
  await Promise.all([until('over', 'waiting'), until('gone', 'waiting'), until('again', 'waiting')]);
  await first.close();
  await (await queue.getJob('over'))?.promote();
  await (await queue.getJob('gone'))?.remove();
  // The events of it are gone, too.
  await connection.xtrim('bull:restarts:events', 'MAXLEN', 0);
  const worker = new Worker(
    'restarts',
    async (job) => {
      if (job.id === 'again' && job.attemptsMade === 0) throw new Error('once');
    },
    { connection },
  );
  await vi.waitUntil(async () => (await queue.getCompletedCount()) === 2, 10_000);
  const second = await forward();
  await Promise.all([until('over', 'completed'), until('gone', 'cancelled')]);
  expect(await until('again', 'completed')).toMatchObject({ attempt: 2, flaky: true });
  expectEachOnceInOrder(viewer.states);
  await worker.close();
  await second.close();
  const { length } = viewer.states;
  // From the beginning of the events, each is the one it was.
  await connection.del('runcast:forwarded:restarts');
  const third = await forward();
  await vi.waitUntil(() => connection.get('runcast:forwarded:restarts'), 10_000);
  await third.close();
  expect(viewer.states.slice(length)).toEqual([]);
});

test('a server that is away is waited for', async () => {
  const { connection, queue } = await queueOf('away');
  const said = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  const options = { connection, url: 'http://127.0.0.1:9', token: 't', project: 'away' };
  const forwarder = await forwardJobs('away', options);
  await queue.add('job', {});
  await vi.waitUntil(() => said.mock.calls.length > 0, 10_000);
  await sleep(100);
  expect(said.mock.calls.map(([line]) => line)).toEqual([
    expect.stringContaining('nothing is forwarded of away'),
  ]);
  said.mockRestore();
  await forwarder.close();
  expect(await connection.get('runcast:forwarded:away')).toBeNull();
});

test('no two jobs are one run', () => {
  const [long, longer] = ['x'.repeat(300), 'x'.repeat(301)];
  const ids = ['a:b', 'a_b', 'a-b', 'ä', long, longer].map((jobId) => runIdOf('q-1', jobId));
  expect(ids.slice(0, 4)).toEqual(['q_2d1-a_3ab', 'q_2d1-a_5fb', 'q_2d1-a-b', 'q_2d1-_c3_a4']);
  expect(new Set(ids).size).toBe(6);
  for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9_-]{1,123}$/);
  expect(fitted('x'.repeat(128), 128)).toHaveLength(128);
});
