import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { scriptedStream } from '../../testing/index.ts';
import {
  type ClientOptions,
  createClient,
  listRuns,
  type RuncastError,
  readRun,
  readRunHistory,
  readTestArtifact,
} from '../index.ts';
import { frame, opening, startServer } from './server.ts';

const warn = vi.spyOn(console, 'warn');

beforeEach(() => {
  warn.mockReset().mockImplementation(() => {});
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function watching(options: ClientOptions) {
  const client = createClient({ random: () => 0, shareKey: false, ...options });
  onTestFinished(() => client.close());
  const errors: RuncastError[] = [];
  client.watchJobRun('r', { onError: (error) => errors.push(error) });
  const { connection } = client;
  return {
    client,
    errors,
    lastError: () => connection.snapshot.lastError,
    state: () => connection.snapshot.state,
  };
}

const lines = () => warn.mock.calls.map(([line]) => line);

describe('what went wrong is told', () => {
  it('as the server says it, and no more once the stream is open', async () => {
    const server = await startServer();
    const { lastError, errors, state } = watching({ url: server.url });
    (await server.next()).refuse(429, { 'retry-after': '0' });
    await vi.waitFor(() => expect(lastError()).toMatchObject({ status: 429, message: 'refused: 429' }));
    expect(lastError()?.problem?.requestId).toBe('r');
    (await server.next()).write(opening('s1'));
    await vi.waitFor(() => expect(state()).toBe('open'));
    expect(lastError()).toBeNull();
    expect(errors).toEqual([]);
  });

  it('on the console once, however often it happens', async () => {
    const server = await startServer();
    const { lastError } = watching({ url: server.url });
    for (const detail of ['try in 3 s', 'try in 2 s', 'another']) {
      const exchange = await server.next();
      exchange.response.writeHead(503, { 'content-type': 'application/problem+json' });
      exchange.response.end(JSON.stringify({ detail }));
      await vi.waitFor(() => expect(lastError()?.message).toBe(detail));
    }
    expect(lines()).toEqual(['Runcast: try in 3 s', 'Runcast: another']);
  });

  it('where a port is refused', async () => {
    const { lastError, state, errors } = watching({ url: 'http://127.0.0.1:1' });
    await vi.waitFor(() => expect(lastError()?.message).toMatch(/^No answer: .*(bad port|ECONNREFUSED)/));
    expect([lastError()?.status, state(), errors]).toEqual([0, 'reconnecting', []]);
    expect(lines()).toHaveLength(1);
  });

  it('where a stream breaks, or is silent', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
    const server = await startServer();
    const { lastError, state } = watching({ url: server.url });
    await vi.advanceTimersByTimeAsync(50);
    (await server.next()).write(opening('s1', 10));
    await vi.waitFor(() => expect(state()).toBe('open'));
    await vi.advanceTimersByTimeAsync(25_100);
    await vi.waitFor(() => expect(lastError()?.message).toBe('Nothing came for 25 s.'));
    await vi.advanceTimersByTimeAsync(300);
    const second = await server.next();
    second.write(opening('s2', 10));
    await vi.waitFor(() => expect(lastError()).toBeNull());
    second.end();
    await vi.waitFor(() => expect(lastError()?.message).toBe('The connection broke.'));
  });

  it('where it is for good, and stays', async () => {
    const server = await startServer();
    const { lastError, state } = watching({ url: server.url });
    (await server.next()).refuse(404);
    await vi.waitFor(() => expect(state()).toBe('failed'));
    expect(lastError()).toMatchObject({ status: 404, message: 'refused: 404' });
    expect(lines()).toEqual(['Runcast: refused: 404']);
  });
});

describe('what can never work is over at once', () => {
  it.each(['nonsense', 'http://a b', 'localhost:8787', 'ftp://h', ''])('%j as an address', async (url) => {
    const { errors, lastError } = watching({ url });
    await vi.waitFor(() => expect(errors).toHaveLength(1));
    expect(errors[0]).toMatchObject({
      status: 0,
      message: `Not an address: ${url}/api/job-status/events?runId=r`,
    });
    expect(lastError()?.message).toBe(errors[0]?.message);
    expect(lines()).toHaveLength(1);
  });

  it('a path is an address where a page has one', async () => {
    const fetch = vi.fn(async () => new Response(null, { status: 204 }));
    vi.stubGlobal('location', new URL('https://page/deep/'));
    vi.stubGlobal('fetch', fetch);
    for (const url of ['', '/', '/base/']) createClient({ url, shareKey: false }).watchQueueStats();
    await vi.waitFor(() => expect(fetch).toHaveBeenCalledTimes(3));
    expect((fetch.mock.calls as unknown[][]).map(([to]) => to)).toEqual([
      '/api/queue-stats/events',
      '/api/queue-stats/events',
      '/base/api/queue-stats/events',
    ]);
  });

  it("a fetch without a streaming body, as React Native's", async () => {
    const answer = {
      status: 200,
      headers: new Headers({ 'content-type': 'text/event-stream' }),
      body: undefined,
    };
    const { errors } = watching({ fetch: async () => answer as unknown as Response });
    await vi.waitFor(() => expect(errors[0]?.message).toBe('This `fetch` cannot stream: give another.'));
  });

  it('a token function that throws again and again', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
    const fetch = vi.fn();
    const token = vi.fn(() => {
      throw new Error('Nobody is signed in.');
    });
    const { errors, lastError, state } = watching({ token, fetch });
    await vi.advanceTimersByTimeAsync(100);
    expect([state(), lastError()?.message]).toEqual(['reconnecting', 'No token: Nobody is signed in.']);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(errors).toMatchObject([{ status: 0, message: 'No token: Nobody is signed in.' }]);
    expect(token).toHaveBeenCalledTimes(8);
    expect(fetch).not.toHaveBeenCalled();
    expect(lines()).toHaveLength(1);
  });
});

it('there is a least wait between two tries, whatever `random` says', async () => {
  const stream = scriptedStream();
  const { client } = watching({ fetch: stream.fetch });
  const started = Date.now();
  for (let streams = 1; streams < 5; streams++) {
    await vi.waitFor(() => expect(stream.requests).toHaveLength(streams));
    await vi.waitFor(() => expect(stream.open).toBe(1));
    await vi.waitFor(() => expect(client.connection.snapshot.state).toBe('open'));
    stream.drop();
  }
  expect(Date.now() - started).toBeGreaterThan(3 * 250);
});

it('slashes at the end of an address are nothing', async () => {
  const server = await startServer();
  watching({ url: `${server.url}//` });
  const exchange = await server.next();
  expect(exchange.url).toBe('/api/job-status/events?runId=r');
  exchange.write(opening('s1'));
});

it('another token is that of the next connection', async () => {
  const server = await startServer();
  const { client } = watching({ url: server.url, token: 'one' });
  const first = await server.next();
  expect(first.token).toBe('Bearer one');
  first.write(opening('s1'));
  client.setToken('two');
  first.end();
  const second = await server.next();
  expect(second.token).toBe('Bearer two');
  // A function is asked when a token is refused, not at once.
  const token = vi.fn(() => 'three');
  client.setToken(token);
  second.write(opening('s2'));
  second.end();
  const third = await server.next();
  expect(third.token).toBe('Bearer two');
  third.refuse(401);
  expect((await server.next()).token).toBe('Bearer three');
  expect(token).toHaveBeenCalledTimes(1);
});

describe('a read', () => {
  it('asks with the token, once more where it is refused, and says what was answered', async () => {
    const server = await startServer();
    const tokens = ['old', 'new'];
    const client = createClient({ url: server.url, token: () => tokens.shift() ?? 'none' });
    const read = listRuns(client, { projectId: 'p', status: ['failed', 'error'], search: 'a b&c', limit: 2 });
    const first = await server.next();
    expect([first.url, first.token]).toEqual([
      '/api/runs?projectId=p&status=failed&status=error&search=a+b%26c&limit=2',
      'Bearer old',
    ]);
    first.refuse(401);
    const second = await server.next();
    expect(second.token).toBe('Bearer new');
    second.response.writeHead(200, { 'content-type': 'application/json' }).end('{"runs":[],"next":null}');
    expect(await read).toEqual({ runs: [], next: null });

    const refused = readRun(client, 'r/../x');
    const third = await server.next();
    expect(third.url).toBe('/api/runs/r%2F..%2Fx');
    third.refuse(404);
    await expect(refused).rejects.toMatchObject({
      name: 'RuncastError',
      status: 404,
      message: 'refused: 404',
      problem: { requestId: 'r' },
    });
    expect(lines()).toEqual(['Runcast: refused: 404']);
  });

  it('fails where there is no answer, and stops with its signal', async () => {
    const client = createClient({ url: 'http://127.0.0.1:1' });
    await expect(readRun(client, 'r')).rejects.toMatchObject({ name: 'RuncastError', status: 0 });
    const aborted = AbortSignal.abort();
    await expect(readRunHistory(client, 'r', { signal: aborted })).rejects.toMatchObject({
      name: 'AbortError',
    });
  });

  it('has the pages that the stand-in has', async () => {
    const stream = scriptedStream();
    for (let n = 0; n < 5; n++)
      stream.job({ runId: `r${n}`, status: n % 2 ? 'failed' : 'passed', name: `Build ${n}` });
    stream.job({ runId: 'now', status: 'running' });
    for (let n = 0; n < 250; n++) stream.job({ runId: 'long', status: 'running' });
    const client = createClient({ fetch: stream.fetch });
    const ids = async (query: object) => {
      const { runs, next } = await listRuns(client, { projectId: 'p', ...query });
      return [runs.map(({ runId }) => runId).join(' '), next] as const;
    };
    const [first, next] = await ids({ limit: 2 });
    expect(first).toBe('long now r4 r3');
    expect((await ids({ limit: 2, before: next }))[0]).toBe('r2 r1');
    expect(await ids({ status: 'failed' })).toEqual(['r3 r1', null]);
    expect(await ids({ search: 'BUILD 2' })).toEqual(['r2', null]);
    const page = await readRunHistory(client, 'long');
    expect([page.events.length, page.next]).toEqual([200, 200]);
    const rest = await readRunHistory(client, 'long', { after: 200 });
    expect([rest.events[0]?.seq, rest.events.length, rest.next]).toEqual([201, 50, null]);
    expect(await readRun(client, 'now')).toMatchObject({ status: 'running' });
    await expect(readRun(client, 'unknown')).rejects.toMatchObject({ status: 404 });
  });

  it('has a signed address of what a test left in S3', async () => {
    const stream = scriptedStream();
    stream.test({ testId: 'left', s3Url: 's3://bucket/left/trace.zip' });
    stream.test({ testId: 'other', s3Url: 'https://elsewhere.example/trace.zip' });
    const client = createClient({ fetch: stream.fetch });
    const { url, expiresAt } = await readTestArtifact(client, 'left');
    expect(new URL(url).pathname).toBe('/bucket/left/trace.zip');
    expect(Date.parse(expiresAt)).toBeGreaterThan(Date.now());
    expect(stream.reads.map((read) => read.url)).toEqual(['/api/test-status/artifacts/left']);
    await expect(readTestArtifact(client, 'other')).rejects.toMatchObject({ status: 404 });
    await expect(readTestArtifact(client, 'unknown')).rejects.toMatchObject({ status: 404 });
  });
});

it('a state tells nothing of an error that another stream had', async () => {
  const server = await startServer();
  const { client } = watching({ url: server.url });
  const first = await server.next();
  first.write(opening('s1') + frame({ kind: 'job', runId: 'r', seq: 0, status: 'waiting' }, '0'));
  await vi.waitFor(() =>
    expect(client.connection.snapshot).toMatchObject({ state: 'open', lastError: null }),
  );
});
