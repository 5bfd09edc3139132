import { expect, it, onTestFinished, vi } from 'vitest';
import { jobState, scriptedStream } from '../../testing/index.ts';
import { type ClientOptions, createClient } from '../index.ts';
import { frame, opening, startServer } from './server.ts';

function connected(options: ClientOptions = {}) {
  const stream = scriptedStream();
  const client = createClient({ fetch: stream.fetch, random: () => 0, ...options });
  onTestFinished(() => client.close());
  const seen: string[] = [];
  const see = ({ runId, seq }: { runId: string; seq: number }) => seen.push(`${runId}:${seq}`);
  return { stream, client, seen, see };
}

const urls = (stream: ReturnType<typeof scriptedStream>) => stream.requests.map(({ url }) => url);
const cursors = (stream: ReturnType<typeof scriptedStream>) =>
  stream.requests.map(({ headers }) => headers.get('last-event-id'));

it('many watches of many runs share one stream', async () => {
  const { stream, client, seen, see } = connected();
  for (let n = 0; n < 10; n++) client.watchJobRun(['a', 'b', 'c'], { onState: see });
  await vi.waitFor(() => expect(seen).toHaveLength(30));
  expect(urls(stream)).toEqual(['/api/job-status/events?runId=a&runId=b&runId=c']);
  stream.job({ runId: 'b', status: 'running' });
  await vi.waitFor(() => expect(seen.filter((one) => one === 'b:1')).toHaveLength(10));
});

it('a stream carries fifty, and another one the rest', async () => {
  const { stream, client } = connected();
  client.watchJobRun(Array.from({ length: 120 }, (_, n) => `r${n}`));
  await vi.waitFor(() => expect(stream.open).toBe(3));
  const counts = urls(stream).map((url) => url.split('runId=').length - 1);
  expect(counts).toEqual([50, 50, 20]);
});

it('tests and jobs have a stream each', async () => {
  const { stream, client } = connected();
  client.watchJobRun('x');
  client.watchTest('x');
  await vi.waitFor(() => expect(stream.open).toBe(2));
  expect(urls(stream).sort()).toEqual(['/api/job-status/events?runId=x', '/api/test-status/events?testId=x']);
});

it('what comes later joins the stream, and no event is lost or doubled', async () => {
  const { stream, client, seen, see } = connected();
  stream.job({ runId: 'a', status: 'running' });
  client.watchJobRun('a', { onState: see });
  await vi.waitFor(() => expect(seen).toEqual(['a:1']));
  stream.job({ runId: 'b', status: 'waiting' });
  stream.job({ runId: 'b', status: 'running' });
  client.watchJobRun('b', { onState: see });
  // Events at every moment of the change.
  let last = 1;
  while (stream.requests.length < 3 || last < 5) {
    last = stream.job({ runId: 'a', status: 'running' }).seq;
    await vi.waitFor(() => expect(seen).toContain(`a:${last}`), { interval: 1 });
  }
  await vi.waitFor(() => expect(stream.open).toBe(1));
  expect(seen.filter((one) => one.startsWith('a'))).toEqual(
    Array.from({ length: last }, (_, n) => `a:${n + 1}`),
  );
  expect(seen.filter((one) => one.startsWith('b'))).toEqual(['b:2']);
  expect(urls(stream)).toEqual([
    '/api/job-status/events?runId=a',
    '/api/job-status/events?runId=b',
    '/api/job-status/events?runId=a&runId=b',
  ]);
  expect(cursors(stream)[2]).toMatch(/^\d+,2$/);
  expect(stream.closed).toEqual(['s1', 's2']);
});

it('what is merged goes on until the merged stream is open', async () => {
  const stream = scriptedStream();
  const isMerged = (url: unknown) => `${url}`.includes('runId=a&runId=b');
  const fetch: typeof globalThis.fetch = (input, init) => {
    if (isMerged(input)) stream.answer(429, 'too many', { 'retry-after': '1' });
    return stream.fetch(input, init);
  };
  const client = createClient({ fetch, random: () => 0 });
  onTestFinished(() => client.close());
  const seen: string[] = [];
  const see = ({ runId, seq }: { runId: string; seq: number }) => seen.push(`${runId}:${seq}`);
  client.watchJobRun('a', { onState: see });
  await vi.waitFor(() => expect(seen).toEqual(['a:0']));
  client.watchJobRun('b', { onState: see });
  await vi.waitFor(() => expect(urls(stream).some(isMerged)).toBe(true));
  stream.job({ runId: 'a', status: 'running' });
  stream.job({ runId: 'b', status: 'running' });
  await vi.waitFor(() => expect(seen).toEqual(['a:0', 'b:0', 'a:1', 'b:1']));
  expect(stream.closed).toEqual([]);
  // Nothing is missing meanwhile.
  expect(client.connection.snapshot).toMatchObject({ state: 'open', reconnects: 0 });
});

it('a stream that is full stays as it is', async () => {
  const { stream, client, seen, see } = connected();
  const runs = (name: string, count: number) => Array.from({ length: count }, (_, n) => `${name}${n}`);
  client.watchJobRun(runs('a', 50), { onState: see });
  await vi.waitFor(() => expect(seen).toHaveLength(50));
  client.watchJobRun(runs('b', 10), { onState: see });
  await vi.waitFor(() => expect(seen).toHaveLength(60));
  client.watchJobRun('c', { onState: see });
  await vi.waitFor(() => expect(stream.closed).toEqual(['s2', 's3']));
  expect(stream.open).toBe(2);
});

it('a client that is closed opens nothing more, whatever is answered then', async () => {
  const server = await startServer();
  const client = createClient({ url: server.url, random: () => 0 });
  client.watchJobRun(['a', 'b']);
  const exchange = await server.next();
  client.close();
  const states: string[] = [];
  client.connection.subscribe(() => states.push(client.connection.snapshot.state));
  // Another life, with a stream of its own.
  client.watchJobRun('c');
  onTestFinished(() => client.close());
  (await server.next()).write(opening('s1') + frame(jobState({ runId: 'c' }), '0'));
  await vi.waitFor(() => expect(states.at(-1)).toBe('open'));
  exchange.refuse(404);
  await vi.waitFor(() => expect(exchange.response.writableFinished).toBe(true));
  client.watchTest('t');
  expect((await server.next()).url).toBe('/api/test-status/events?testId=t');
  expect(states).not.toContain('idle');
});

it('a watch that is closed and opened again within the moment keeps its stream', async () => {
  const { stream, client, seen, see } = connected();
  const watch = client.watchJobRun('a', { onState: see });
  await vi.waitFor(() => expect(seen).toEqual(['a:0']));
  watch.close();
  client.watchJobRun('a', { onState: see });
  stream.job({ runId: 'a', status: 'passed' });
  await vi.waitFor(() => expect(seen).toEqual(['a:0', 'a:0', 'a:1']));
  expect(stream.requests).toHaveLength(1);
});

it('what nobody watches any more is closed', async () => {
  const { stream, client } = connected();
  const watch = client.watchJobRun('a');
  await vi.waitFor(() => expect(stream.open).toBe(1));
  watch.close();
  await vi.waitFor(() => expect(stream.closed).toEqual(['s1']));
  expect(client.connection.snapshot.state).toBe('idle');
});

it('what is over leaves the stream when it is opened again', async () => {
  const { stream, client, seen, see } = connected();
  const ended: string[] = [];
  client.watchJobRun('a', { onState: see, onEnd: () => ended.push('a') });
  client.watchJobRun('b', { onState: see, onEnd: () => ended.push('b') });
  await vi.waitFor(() => expect(seen).toHaveLength(2));
  stream.job({ runId: 'a', status: 'passed' });
  await vi.waitFor(() => expect(ended).toEqual(['a']));
  await vi.waitFor(() => {
    stream.end('rotate');
    expect(urls(stream).at(-1)).toBe('/api/job-status/events?runId=b');
  });
  expect(cursors(stream).at(-1)).toBe('0');
  stream.job({ runId: 'b', status: 'failed' });
  await vi.waitFor(() => expect(ended).toEqual(['a', 'b']));
});

it('a stream that another took the place of is over for all that it carries, and says why', async () => {
  const { stream, client, seen, see } = connected();
  const errors: string[] = [];
  for (const id of ['a', 'b', 'c']) {
    client.watchJobRun(id, {
      onState: see,
      onError: ({ status, message }) => errors.push(`${status} ${message}`),
    });
  }
  await vi.waitFor(() => expect(seen).toHaveLength(3));
  stream.evict();
  await vi.waitFor(() => expect(errors).toHaveLength(3));
  expect(errors[0]).toBe('429 Too many open streams: a newer one took the place of this one.');
  expect(client.connection.snapshot.state).toBe('failed');
  // It would take another's place in turn. Whoever watches anew does.
  expect(stream.requests).toHaveLength(1);
  client.watchJobRun('a', { onState: see });
  await vi.waitFor(() => expect(stream.open).toBe(1));
});

it('one id that is not ours costs the others nothing', async () => {
  const stream = scriptedStream();
  const fetch: typeof globalThis.fetch = (input, init) => {
    if (`${input}`.includes('runId=bad') && init?.method !== 'POST') stream.answer(404, 'not yours');
    return stream.fetch(input, init);
  };
  const client = createClient({ fetch, random: () => 0 });
  onTestFinished(() => client.close());
  const refused: string[] = [];
  const seen = new Set<string>();
  for (const id of ['a', 'b', 'bad', 'c', 'd']) {
    client.watchJobRun(id, { onState: ({ runId }) => seen.add(runId), onError: () => refused.push(id) });
  }
  await vi.waitFor(() => expect([...seen].sort()).toEqual(['a', 'b', 'c', 'd']));
  await vi.waitFor(() => expect(refused).toEqual(['bad']));
  await vi.waitFor(() => expect(stream.open).toBe(1));
});

it('a later watch begins with what is known', async () => {
  const { stream, client, seen, see } = connected();
  stream.job({ runId: 'a', status: 'running' });
  client.watchProject({ projectId: 'p', kind: 'job' }, { onState: see });
  await vi.waitFor(() => expect(seen).toEqual(['a:1']));
  client.watchProject({ projectId: 'p', kind: 'job' }, { onState: see });
  await vi.waitFor(() => expect(seen).toEqual(['a:1', 'a:1']));
  expect(stream.requests).toHaveLength(1);
});

it('a page that wakes up tries at once', async () => {
  const { stream, client, seen, see } = connected({ random: () => 1000 });
  const page = new EventTarget();
  vi.stubGlobal('addEventListener', page.addEventListener.bind(page));
  onTestFinished(() => {
    vi.unstubAllGlobals();
  });
  client.watchJobRun('a', { onState: see });
  await vi.waitFor(() => expect(seen).toEqual(['a:0']));
  stream.drop();
  await vi.waitFor(() => expect(client.connection.snapshot.state).toBe('reconnecting'));
  stream.job({ runId: 'a', status: 'running' });
  page.dispatchEvent(new Event('online'));
  await vi.waitFor(() => expect(seen).toEqual(['a:0', 'a:1']));

  // But not where the server asked for a wait.
  stream.drop();
  await vi.waitFor(() => expect(client.connection.snapshot.reconnects).toBe(2));
  stream.answer(429, 'too many', { 'retry-after': '3600' });
  page.dispatchEvent(new Event('online'));
  await vi.waitFor(() => expect(client.connection.snapshot.reconnects).toBe(3));
  page.dispatchEvent(new Event('online'));
  await new Promise(setImmediate);
  expect(stream.requests).toHaveLength(3);
});

it('a stream whose states come late is merged then', async () => {
  const server = await startServer();
  const client = createClient({ url: server.url, random: () => 0 });
  onTestFinished(() => client.close());
  const open: string[] = [];
  client.watchJobRun('a', { onConnection: ({ state }) => open.push(state) });
  (await server.next()).write(opening('s1') + frame(jobState({ runId: 'a' }), '0'));
  await vi.waitFor(() => expect(open.at(-1)).toBe('open'));
  client.watchJobRun('b');
  const late = await server.next();
  late.write(opening('s2'));
  // By then, all that the opening has led to is done.
  client.watchTest('t');
  await server.next();
  late.write(frame(jobState({ runId: 'b' }), '0'));
  const merged = await server.next();
  expect([merged.url, merged.lastEventId]).toEqual(['/api/job-status/events?runId=a&runId=b', '0,0']);
});

it('a page that goes sends the beacon, and comes back at its cursor', async () => {
  const { stream, client, seen, see } = connected();
  const page = new EventTarget();
  vi.stubGlobal('addEventListener', page.addEventListener.bind(page));
  vi.stubGlobal('removeEventListener', page.removeEventListener.bind(page));
  onTestFinished(() => {
    vi.unstubAllGlobals();
  });
  client.watchJobRun('a', { onState: see });
  await vi.waitFor(() => expect(seen).toEqual(['a:0']));
  page.dispatchEvent(new Event('pagehide'));
  expect(stream.closed).toEqual(['s1']);
  stream.job({ runId: 'a', status: 'running' });
  stream.job({ runId: 'a', status: 'running' });
  page.dispatchEvent(new Event('pageshow'));
  await vi.waitFor(() => expect(seen).toEqual(['a:0', 'a:1', 'a:2']));
});

it('sends the beacon as one where the browser has it', async () => {
  const sendBeacon = vi.fn(() => true);
  const stream = scriptedStream();
  vi.stubGlobal('navigator', { sendBeacon });
  vi.stubGlobal('fetch', stream.fetch);
  vi.stubGlobal('location', new URL('http://page/'));
  onTestFinished(() => {
    vi.unstubAllGlobals();
  });
  const client = createClient();
  client.watchQueueStats();
  await vi.waitFor(() => expect(client.connection.snapshot.state).toBe('open'));
  client.close();
  expect(sendBeacon).toHaveBeenCalledWith('/api/queue-stats/streams/s1/close');
});
