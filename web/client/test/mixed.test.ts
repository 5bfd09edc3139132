import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import { jobState, type ScriptedStream, scriptedStream } from '../../testing/index.ts';
import { createClient, listRuns, readRunHistory, watchRun } from '../index.ts';
import { Locks } from './locks.ts';
import { sixConnections } from './network.ts';
import { frame, opening, startServer } from './server.ts';

beforeEach(() => {
  vi.stubGlobal('navigator', { locks: new Locks() });
});

afterEach(() => {
  vi.unstubAllGlobals();
});

const mine = `e30.${Buffer.from('{"sub":"s","org":"o"}').toString('base64url')}.c2ln`;

function tab(fetch: typeof globalThis.fetch) {
  const client = createClient({ fetch, random: () => 0, token: mine, url: 'http://scripted' });
  onTestFinished(() => client.close());
  return client;
}

const urls = (stream: ScriptedStream) => stream.requests.map(({ url }) => url.replace(/^.*events/, ''));

it('projects, runs and executions share a stream, and each event goes where it belongs', async () => {
  const stream = scriptedStream();
  stream.job({ runId: 'a', status: 'running' }, 'p');
  stream.job({ runId: 'b', status: 'running' }, 'q');
  const client = tab(stream.fetch);
  const told: string[] = [];
  const tell = (who: string) => ({
    onState: ({ runId, seq }: { runId: string; seq: number }) => told.push(`${who} ${runId}:${seq}`),
    onReset: () => told.push(`${who} reset`),
  });
  client.watchProject({ projectId: 'p', kind: 'job' }, tell('p'));
  client.watchProject({ projectId: 'q', kind: 'job' }, tell('q'));
  client.watchJobRun('a', tell('a'));
  await vi.waitFor(() => expect(told.toSorted()).toEqual(['a a:1', 'p a:1', 'q b:1']));
  await vi.waitFor(() => expect(stream.open).toBe(1));
  expect(urls(stream).at(-1)).toMatch(/^\?(?=.*runId=a)(?=.*projectId=p)(?=.*projectId=q)/);
  told.length = 0;
  stream.job({ runId: 'c', status: 'running' }, 'q');
  stream.job({ runId: 'a', status: 'running' }, 'p');
  stream.drop();
  stream.job({ runId: 'b', status: 'passed' }, 'q');
  stream.job({ runId: 'a', status: 'passed' }, 'p');
  await vi.waitFor(() => expect(told).toHaveLength(6));
  expect(told.toSorted()).toEqual(['a a:2', 'a a:3', 'p a:2', 'p a:3', 'q b:2', 'q c:1']);
  expect(stream.open).toBe(1);
});

it('a mixed stream that is reset is taken apart, and put together again', async () => {
  const stream = scriptedStream();
  stream.job({ runId: 'a', status: 'running' }, 'p');
  stream.job({ runId: 'b', status: 'running' }, 'q');
  const client = tab(stream.fetch);
  const shown = { p: new Map<string, number>(), q: new Map<string, number>() };
  for (const projectId of ['p', 'q'] as const) {
    client.watchProject(
      { projectId, kind: 'job' },
      {
        onState: ({ runId, seq }) => shown[projectId].set(runId, seq),
        onReset: () => shown[projectId].clear(),
      },
    );
  }
  const isMerged = () => expect(stream.open === 1 && urls(stream).at(-1)).toMatch(/projectId=.*projectId=/);
  await vi.waitFor(isMerged);
  stream.reset();
  stream.job({ runId: 'c', status: 'running' }, 'p');
  stream.job({ runId: 'd', status: 'running' }, 'q');
  await vi.waitFor(() => expect([[...shown.p], [...shown.q]]).toEqual([[['c', 1]], [['d', 1]]]));
  await vi.waitFor(isMerged);
  stream.job({ runId: 'd', status: 'running' }, 'q');
  await vi.waitFor(() => expect([...shown.q]).toEqual([['d', 2]]));
  expect([...shown.p]).toEqual([['c', 1]]);
});

it('a part that is behind on the merged stream goes on from where that is', async () => {
  const server = await startServer();
  const client = createClient({ url: server.url, random: () => 0, shareKey: false });
  onTestFinished(() => client.close());
  const told: string[] = [];
  const see = (who: string) => ({
    onState: ({ runId, seq }: { runId: string; seq: number }) => told.push(`${who} ${runId}:${seq}`),
  });
  const run = (runId: string, seq: number) => jobState({ runId, seq, status: 'running' });
  client.watchProject({ projectId: 'p', kind: 'job' }, see('p'));
  const first = await server.next();
  first.write(opening('s1') + frame(run('a', 1), '7'));
  client.watchProject({ projectId: 'q', kind: 'job' }, see('q'));
  const second = await server.next();
  second.write(opening('s2') + frame(run('b', 1), '3'));
  const merged = await server.next();
  expect([merged.url, merged.lastEventId]).toEqual(['/api/job-status/events?projectId=p&projectId=q', '7,3']);
  // While the merged stream is opened, the others go on.
  first.write(frame(run('a', 2), '8') + frame(run('a', 3), '9'));
  second.write(frame(run('b', 2), '4'));
  await vi.waitFor(() => expect(told).toHaveLength(5));
  merged.write(
    opening('s3') + frame(run('a', 2), '8,3') + frame(run('b', 2), '8,4') + frame(run('b', 3), '8,5'),
  );
  await vi.waitFor(() => expect(told.at(-1)).toBe('q b:3'));
  expect(told).toEqual(['p a:1', 'q b:1', 'p a:2', 'p a:3', 'q b:2', 'q b:3']);
});

it('states that come after a reset are told to the project that they are of', async () => {
  const server = await startServer();
  const client = createClient({ url: server.url, random: () => 0, shareKey: false });
  onTestFinished(() => client.close());
  const told: string[] = [];
  const see = (who: string) => ({
    onState: ({ runId, seq }: { runId: string; seq: number }) => told.push(`${who} ${runId}:${seq}`),
    onReset: () => told.push(`${who} reset`),
  });
  const run = (runId: string, seq: number) => jobState({ runId, seq, status: 'running' });
  client.watchProject({ projectId: 'p', kind: 'job' }, see('p'));
  (await server.next()).write(opening('s1') + frame(run('a', 1), '7'));
  client.watchProject({ projectId: 'q', kind: 'job' }, see('q'));
  (await server.next()).write(opening('s2') + frame(run('b', 1), '3'));
  const merged = await server.next();
  const reset = 'event: reset\ndata: {}\n\n';
  merged.write(opening('s3') + reset + frame(run('a', 2)) + frame(run('b', 2), '2,2'));
  const alone = [await server.next(), await server.next()].sort((one, other) =>
    one.url < other.url ? -1 : 1,
  );
  expect(alone.map(({ url, lastEventId }) => [url, lastEventId])).toEqual([
    ['/api/job-status/events?projectId=p', undefined],
    ['/api/job-status/events?projectId=q', undefined],
  ]);
  expect(server.closed).toContain('/api/job-status/streams/s3/close');
  alone[0]?.write(opening('s4') + frame(run('a', 2), '2'));
  alone[1]?.write(opening('s5') + frame(run('b', 2), '2'));
  const again = await server.next();
  expect([again.url, again.lastEventId]).toEqual(['/api/job-status/events?projectId=p&projectId=q', '2,2']);
  expect(told.slice(2).toSorted()).toEqual(['p a:2', 'p reset', 'q b:2', 'q reset']);
});

it('a run that nobody has reported has a state also where its stream is resumed', async () => {
  const server = await startServer();
  const client = createClient({ url: server.url, random: () => 0, shareKey: false });
  onTestFinished(() => client.close());
  const told: string[] = [];
  client.watchJobRun(['a', 'b'], { onState: ({ runId, seq }) => told.push(`${runId}:${seq}`) });
  (await server.next()).write(`${opening('s1')}id: 0,0\n\n`);
  await vi.waitFor(() => expect(client.connection.snapshot.state).toBe('open'));
  server.closeStreams();
  const second = await server.next();
  expect(second.lastEventId).toBe('0,0');
  second.write(opening('s2') + frame(jobState({ runId: 'a' })) + frame(jobState({ runId: 'b' })));
  await vi.waitFor(() => expect(told).toEqual(['a:0', 'b:0']));
});

it('ten tabs over HTTP/1.1, with runs, projects, queues and histories: three streams, and always a connection', async () => {
  const stream = scriptedStream();
  const network = sixConnections(stream.fetch);
  const current: string[] = [];
  const clients = Array.from({ length: 10 }, (_, n) => {
    stream.test({ testId: `t${n}`, runId: `r${n}`, status: 'running' }, 'p');
    stream.job({ runId: `r${n}`, status: 'running' }, 'p');
    const client = tab(network.fetch);
    watchRun(client, `r${n}`, { onCurrent: () => current.push(`r${n}`) });
    client.watchProject({ projectId: 'p', kind: n % 2 ? 'job' : 'test' });
    client.watchProject({ projectId: `p${n % 3}`, kind: 'job' });
    client.watchTest(`t${(n + 5) % 10}`);
    client.watchQueueStats();
    return client;
  });
  let most = 0;
  const watching = setInterval(() => {
    most = Math.max(most, stream.open);
  }, 1);
  onTestFinished(() => clearInterval(watching));
  // A page that reads meanwhile is answered at once.
  const [client] = clients as [ReturnType<typeof tab>];
  for (let read = 0; read < 20; read++) {
    const at = performance.now();
    await (read % 2 ? listRuns(client, { projectId: 'p' }) : readRunHistory(client, 'r3'));
    expect(performance.now() - at).toBeLessThan(1_000);
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
  await vi.waitFor(() => expect(current).toHaveLength(10), { timeout: 10_000 });
  await vi.waitFor(() => expect(stream.open).toBe(3), { timeout: 10_000 });
  expect(most).toBeLessThanOrEqual(5);
  expect(network.most).toBeLessThanOrEqual(6);
  // And it stays so when another comes.
  const late = tab(network.fetch);
  const shown: string[] = [];
  watchRun(late, 'r3', { onState: ({ tests }) => shown.push([...tests.keys()].join()) });
  await vi.waitFor(() => expect(shown.at(-1)).toBe('t3'));
  await vi.waitFor(() => expect(stream.open).toBe(3));
}, 40_000);

it('a stream that cannot be opened holds up no other', async () => {
  const stream = scriptedStream();
  const fetch: typeof globalThis.fetch = (input, init) => {
    if (`${input}`.includes('test-status/events'))
      stream.answer(503, 'Postgres is away.', { 'retry-after': '60' });
    return stream.fetch(input, init);
  };
  const client = tab(fetch);
  for (const id of ['a', 'b', 'c']) client.watchProject({ projectId: id, kind: 'test' });
  await vi.waitFor(() => expect(client.connection.snapshot.state).toBe('reconnecting'));
  const told = new Set<string>();
  client.watchJobRun('x', { onState: ({ runId }) => told.add(runId) });
  client.watchProject({ projectId: 'p', kind: 'job' }, { onCurrent: () => told.add('p') });
  client.watchQueueStats({ onCurrent: () => told.add('queues') });
  await vi.waitFor(() => expect([...told].sort()).toEqual(['p', 'queues', 'x']));
});
