import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { jobState } from '../../testing/index.ts';
import { type ClientOptions, createClient, type JobState, type RuncastError } from '../index.ts';
import { Locks } from './locks.ts';
import { end, eviction, frame, opening, startServer } from './server.ts';

const run = (seq: number, given: Partial<JobState> = {}) =>
  jobState({ runId: 'r1', status: 'running', seq, ...given });

/** A server, and a client that watches `r1` on it. */
async function watching(options: ClientOptions = {}) {
  const server = await startServer();
  const client = createClient({ url: server.url, random: () => 0, ...options });
  onTestFinished(() => client.close());
  const seqs: number[] = [];
  const states: JobState[] = [];
  const ends: string[] = [];
  const errors: RuncastError[] = [];
  const watch = client.watchJobRun('r1', {
    onState: (state) => {
      states.push(state);
      seqs.push(state.seq);
    },
    onEnd: (reason) => ends.push(reason),
    onError: (error) => errors.push(error),
  });
  return { server, client, watch, seqs, states, ends, errors };
}

/** What nobody has caught, in place of the test runner, which would fail. */
function uncaught(): unknown[] {
  const errors: unknown[] = [];
  const runner = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException').on('uncaughtException', (error) => errors.push(error));
  onTestFinished(() => {
    process.removeAllListeners('uncaughtException');
    for (const listener of runner) process.on('uncaughtException', listener);
  });
  return errors;
}

afterEach(() => {
  vi.useRealTimers();
});

describe('what comes over the wire', () => {
  const long = 'ä€😀'.repeat(40_000);
  const wire = (newline: string) =>
    [
      `\uFEFFretry: 0`,
      'event: stream',
      'data: {"streamId":"s1","heartbeatSeconds":15,"endsAt":"2026-01-31T12:00:00.000Z"}',
      '',
      ': ping',
      '',
      'id: 1',
      ...JSON.stringify(run(1, { progress: { completed: 1, total: 2, message: 'ä€😀' } }), null, 1)
        .split('\n')
        .map((line) => `data: ${line}`),
      '',
      'id: 2',
      `data:${JSON.stringify(run(2, { status: 'passed' }))}`,
      '',
      'event: end',
      'data: {"reason":"complete"}',
      '',
      // Whether a CR at the end is a line's whole end, only the next character tells.
      '',
      '',
    ].join(newline);

  it.each([
    ['LF', '\n'],
    ['CRLF', '\r\n'],
    ['CR', '\r'],
  ])(
    'is read the same wherever it is split (%s)',
    async (_, newline) => {
      const bytes = new TextEncoder().encode(wire(newline));
      for (let split = 1; split < bytes.length; split++) {
        const fetch = async () =>
          new Response(
            new ReadableStream({
              start(controller) {
                controller.enqueue(bytes.slice(0, split));
                controller.enqueue(bytes.slice(split));
                controller.close();
              },
            }),
            { headers: { 'content-type': 'text/event-stream' } },
          );
        const client = createClient({ fetch, url: 'http://scripted' });
        vi.useFakeTimers();
        const states: JobState[] = [];
        const ended = new Promise((resolve) =>
          client.watchJobRun('r1', { onState: (state) => states.push(state), onEnd: resolve }),
        );
        await vi.advanceTimersByTimeAsync(60);
        vi.useRealTimers();
        expect(await ended).toBe('complete');
        expect(
          states.map(({ seq, status }) => [seq, status]),
          `split at ${split}`,
        ).toEqual([
          [1, 'running'],
          [2, 'passed'],
        ]);
        expect(states[0]?.progress?.message).toBe('ä€😀');
        client.close();
      }
    },
    60_000,
  );

  it('may be a byte at a time', async () => {
    const { server, seqs, ends } = await watching();
    const exchange = await server.next();
    exchange.response.socket?.setNoDelay();
    for (const byte of new TextEncoder().encode(wire('\r\n'))) exchange.write(Uint8Array.of(byte));
    await vi.waitFor(() => expect(ends).toEqual(['complete']));
    expect(seqs).toEqual([1, 2]);
  });

  it('may be a long frame', async () => {
    const { server, states } = await watching();
    const exchange = await server.next();
    exchange.write(opening('s1') + frame(run(1, { errorDetails: long }), '1'));
    await vi.waitFor(() => expect(states).toHaveLength(1));
    expect(states[0]?.errorDetails).toBe(long);
  });
});

describe('a stream', () => {
  it('that breaks is resumed at the cursor, and no state comes twice', async () => {
    const { server, seqs } = await watching();
    const first = await server.next();
    expect(first.url).toBe('/api/job-status/events?runId=r1');
    expect(first.lastEventId).toBeUndefined();
    first.write(opening('s1') + frame(run(3), '3') + frame(run(4), '4'));
    await vi.waitFor(() => expect(seqs).toEqual([3, 4]));
    first.destroy();
    const second = await server.next();
    expect(second.lastEventId).toBe('4');
    second.write(opening('s2') + frame(run(4), '4') + frame(run(3), '3') + frame(run(5), '5'));
    await vi.waitFor(() => expect(seqs).toEqual([3, 4, 5]));
  });

  it('that closes before its first frame is opened again', async () => {
    const { server, seqs } = await watching();
    (await server.next()).destroy();
    const exchange = await server.next();
    exchange.write(opening('s1') + frame(run(1), '1'));
    await vi.waitFor(() => expect(seqs).toEqual([1]));
  });

  it('that is answered 204 is over', async () => {
    const { server, ends } = await watching();
    (await server.next()).refuse(204);
    await vi.waitFor(() => expect(ends).toEqual(['complete']));
    expect(server.count).toBe(1);
  });

  it.each(['complete', 'closed'])('that ends as %s is over', async (reason) => {
    const { server, ends, client } = await watching();
    (await server.next()).write(opening('s1') + frame(run(1), '1') + end(reason));
    await vi.waitFor(() => expect(ends).toEqual([reason]));
    expect(server.count).toBe(1);
    expect(client.connection.snapshot.state).toBe('ended');
  });

  it('whose place another has is over, and its last id is no cursor', async () => {
    const { server, client, seqs } = await watching();
    (await server.next()).write(opening('s1') + frame(run(1), '1') + eviction);
    await vi.waitFor(() => expect(client.connection.snapshot.state).toBe('failed'));
    expect(seqs).toEqual([1]);
    expect(server.count).toBe(1);
  });

  it('that rotates is opened again at once, with its cursor', async () => {
    // So long a wait would let the test time out.
    const { server, seqs, client } = await watching({ random: () => 1000 });
    const first = await server.next();
    first.write(opening('s1').replace('retry: 0', 'retry: 60000') + frame(run(1), '1') + end('rotate'));
    const second = await server.next();
    expect(second.lastEventId).toBe('1');
    second.write(opening('s2') + frame(run(2), '2'));
    await vi.waitFor(() => expect(seqs).toEqual([1, 2]));
    expect(client.connection.snapshot.reconnects).toBe(0);
  });

  it('that was reset starts over, also from an earlier state', async () => {
    const { server, client, seqs } = await watching();
    const first = await server.next();
    first.write(opening('s1') + frame(run(7), '7'));
    await vi.waitFor(() => expect(seqs).toEqual([7]));
    const told: unknown[] = [];
    client.watchJobRun('r1', { onState: ({ seq }) => told.push(seq), onReset: () => told.push('reset') });
    await vi.waitFor(() => expect(told).toEqual([7]));
    first.write(`event: reset\ndata: {}\n\n${frame(run(2), '2')}${frame(run(3), '3')}`);
    await vi.waitFor(() => expect(seqs).toEqual([7, 2, 3]));
    // Whoever has begun anew needs the current state also where it is the one before.
    first.write(`event: reset\ndata: {}\n\n${frame(run(3), '3')}${frame(run(4), '4')}`);
    await vi.waitFor(() => expect(seqs).toEqual([7, 2, 3, 3, 4]));
    expect(told).toEqual([7, 'reset', 2, 3, 'reset', 3, 4]);
  });

  it('that was reset leaves the states of the others on a watch as they are', async () => {
    const { server, client } = await watching();
    const one = await server.next();
    one.write(opening('s1') + frame(run(1), '1'));
    const told: unknown[] = [];
    client.watchJobRun(['r1', 'r2'], {
      onState: ({ runId, seq }) => told.push(`${runId}:${seq}`),
      onReset: () => told.push('reset'),
    });
    const other = await server.next();
    other.write(opening('s2') + frame(run(5, { runId: 'r2' })));
    await vi.waitFor(() => expect(told.toSorted()).toEqual(['r1:1', 'r2:5']));
    other.write(`event: reset\ndata: {}\n\n${frame(run(3, { runId: 'r2' }))}`);
    await vi.waitFor(() => expect(told.slice(2)).toEqual(['r2:3']));
  });

  it('has a cursor also where only an id came', async () => {
    const server = await startServer();
    const client = createClient({ url: server.url, random: () => 0 });
    onTestFinished(() => client.close());
    client.watchProject({ projectId: 'p', kind: 'job' });
    const first = await server.next();
    first.write(`${opening('s1')}id: 12\n\n`);
    await vi.waitFor(() => expect(client.connection.snapshot.state).toBe('open'));
    first.write(end('rotate'));
    expect((await server.next()).lastEventId).toBe('12');
  });

  it('that is silent for two and a half heartbeats is dead', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
    const { server, client } = await watching();
    await vi.advanceTimersByTimeAsync(50);
    const first = await server.next();
    first.write(opening('s1', 10));
    await vi.waitFor(() => expect(client.connection.snapshot.state).toBe('open'));
    await vi.advanceTimersByTimeAsync(24_900);
    expect(client.connection.snapshot.state).toBe('open');
    await vi.advanceTimersByTimeAsync(200);
    await vi.waitFor(() => expect(server.count).toBe(2));
    expect(client.connection.snapshot.reconnects).toBe(1);
  });

  it('that is not answered, or is silent, is given up at once when the page wakes up', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
    const page = new EventTarget();
    vi.stubGlobal('addEventListener', page.addEventListener.bind(page));
    onTestFinished(() => {
      vi.unstubAllGlobals();
    });
    // So long a wait would let the test time out.
    const { server, client } = await watching({ random: () => 1000 });
    await vi.advanceTimersByTimeAsync(50);
    const wake = async (afterMs: number) => {
      await vi.advanceTimersByTimeAsync(afterMs);
      page.dispatchEvent(new Event('online'));
    };
    await server.next();
    await wake(19_900);
    expect(client.connection.snapshot.reconnects).toBe(0);
    await wake(200);
    await vi.waitFor(() => expect(client.connection.snapshot.reconnects).toBe(1));
    await vi.advanceTimersByTimeAsync(0);
    const second = await server.next();
    second.write(opening('s1', 10));
    await vi.waitFor(() => expect(client.connection.snapshot.state).toBe('open'));
    await wake(12_600);
    await vi.waitFor(() => expect(client.connection.snapshot.reconnects).toBe(2));
    await vi.advanceTimersByTimeAsync(0);
    await server.next();
    expect(server.count).toBe(3);
  });

  it('that only pings is alive', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
    const { server, client } = await watching();
    await vi.advanceTimersByTimeAsync(50);
    const first = await server.next();
    const decode = vi.spyOn(TextDecoder.prototype, 'decode');
    onTestFinished(() => decode.mockRestore());
    first.write(opening('s1', 10));
    for (let ping = 0; ping < 4; ping++) {
      await vi.waitFor(() => expect(decode).toHaveBeenCalledTimes(ping + 1));
      await vi.advanceTimersByTimeAsync(20_000);
      first.write(': ping\n\n');
    }
    expect(client.connection.snapshot.state).toBe('open');
    expect(server.count).toBe(1);
  });
});

describe('a token', () => {
  it('that is refused is renewed, and the stream resumed', async () => {
    const tokens = ['old', 'new'];
    const { server, seqs } = await watching({ token: async () => tokens.shift() ?? 'none' });
    const first = await server.next();
    expect(first.token).toBe('Bearer old');
    first.refuse(401);
    const second = await server.next();
    expect(second.token).toBe('Bearer new');
    second.write(opening('s1') + frame(run(1), '1'));
    await vi.waitFor(() => expect(seqs).toEqual([1]));
  });

  it('that has expired is renewed, and the stream resumed at its cursor', async () => {
    const tokens = ['old', 'new'];
    const { server } = await watching({ token: () => tokens.shift() ?? 'none' });
    (await server.next()).write(opening('s1') + frame(run(1), '1') + end('expired'));
    const second = await server.next();
    expect([second.token, second.lastEventId]).toEqual(['Bearer new', '1']);
  });

  it('that is refused when it is new is an error for good', async () => {
    const { server, errors, client } = await watching({ token: () => 'bad' });
    (await server.next()).refuse(401);
    (await server.next()).refuse(401);
    await vi.waitFor(() => expect(errors).toHaveLength(1));
    expect(errors[0]).toMatchObject({ status: 401, message: 'refused: 401', problem: { requestId: 'r' } });
    expect(client.connection.snapshot.state).toBe('failed');
    expect(server.count).toBe(2);
  });

  it('that cannot be had now is asked for again', async () => {
    const token = vi.fn(async () => 'good').mockRejectedValueOnce(new Error('offline'));
    const { server } = await watching({ token, shareKey: false });
    expect((await server.next()).token).toBe('Bearer good');
  });

  it.each([
    ['alone', {}],
    ['with other tabs', { locks: new Locks() }],
  ])('that never comes is asked for again, by a tab that works %s', async (_, navigator) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
    vi.stubGlobal('navigator', navigator);
    onTestFinished(() => {
      vi.unstubAllGlobals();
    });
    const token = vi.fn(async () => 'good').mockReturnValueOnce(new Promise(() => {}));
    const { server } = await watching({ token });
    await vi.advanceTimersByTimeAsync(60);
    await vi.waitFor(() => expect(token).toHaveBeenCalledOnce());
    await vi.advanceTimersByTimeAsync(30_000);
    const exchange = server.next();
    await vi.advanceTimersByTimeAsync(1000);
    expect((await exchange).token).toBe('Bearer good');
  });
});

describe('an answer', () => {
  it.each([400, 404, 405])('of %d is an error for good', async (status) => {
    const { server, watch, errors } = await watching();
    const states = watch[Symbol.asyncIterator]();
    const first = states.next();
    (await server.next()).refuse(status);
    await expect(first).rejects.toMatchObject({ status, message: `refused: ${status}` });
    expect(errors).toHaveLength(1);
    expect(server.count).toBe(1);
  });

  it('of another type is an error for good', async () => {
    const { server, errors } = await watching();
    const exchange = await server.next();
    exchange.response.writeHead(200, { 'content-type': 'text/html' }).end('<p>');
    await vi.waitFor(() => expect(errors[0]?.message).toContain('text/html'));
  });

  it.each([
    [429, '7', 7_000],
    [503, new Date(Date.UTC(2026, 0, 31, 12, 0, 30)).toUTCString(), 29_950],
  ])('of %d passes, not before Retry-After', async (status, retryAfter, wait) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: Date.UTC(2026, 0, 31, 12) });
    const { server, client } = await watching();
    await vi.advanceTimersByTimeAsync(50);
    (await server.next()).refuse(status, { 'retry-after': retryAfter });
    await vi.waitFor(() => expect(client.connection.snapshot.state).toBe('reconnecting'));
    await vi.advanceTimersByTimeAsync(wait - 100);
    expect(vi.getTimerCount()).toBe(1);
    expect(server.count).toBe(1);
    await vi.advanceTimersByTimeAsync(200);
    await vi.waitFor(() => expect(server.count).toBe(2));
  });

  it('of 500 is asked for again after waits that grow, any part of which is as likely', async () => {
    const random = vi.fn(() => 0.5);
    const setTimeout = vi.spyOn(globalThis, 'setTimeout');
    onTestFinished(() => setTimeout.mockRestore());
    const { client, server } = await watching({ random });
    (await server.next()).refuse(500);
    await vi.waitFor(() => expect(client.connection.snapshot.state).toBe('reconnecting'));
    expect(setTimeout).toHaveBeenCalledWith(expect.anything(), 500);
    (await server.next()).refuse(500);
    await vi.waitFor(() => expect(setTimeout).toHaveBeenCalledWith(expect.anything(), 1000));
  });
});

describe('a watch', () => {
  it('that is closed tells the server', async () => {
    const { server, watch, seqs } = await watching();
    (await server.next()).write(opening('s1') + frame(run(1), '1'));
    await vi.waitFor(() => expect(seqs).toEqual([1]));
    watch.close();
    await vi.waitFor(() => expect(server.closed).toEqual(['/api/job-status/streams/s1/close']));
  });

  it('that is closed before the server gave its id tells the server as soon as it did', async () => {
    const { server, client } = await watching();
    const exchange = await server.next();
    client.close();
    expect(server.closed).toEqual([]);
    exchange.write(opening('s1'));
    await vi.waitFor(() => expect(server.closed).toEqual(['/api/job-status/streams/s1/close']));
  });

  it('ends with its signal', async () => {
    const { server, client } = await watching();
    const exchange = await server.next();
    exchange.write(opening('s1') + frame(run(1), '1'));
    const controller = new AbortController();
    const seen: number[] = [];
    for await (const { seq } of client.watchJobRun('r1', { signal: controller.signal })) {
      seen.push(seq);
      controller.abort();
    }
    expect(seen).toEqual([1]);
  });

  it('is iterated to its end', async () => {
    const { server, watch } = await watching();
    void server
      .next()
      .then((exchange) =>
        exchange.write(
          opening('s1') + frame(run(1), '1') + frame(run(2, { status: 'passed' }), '2') + end('complete'),
        ),
      );
    const seqs: number[] = [];
    for await (const { seq } of watch) seqs.push(seq);
    expect(seqs).toEqual([1, 2]);
  });

  it('whose functions throw costs the others nothing, and what they throw is reported', async () => {
    const reported = uncaught();
    const { server, client, seqs } = await watching();
    const fail = (error: string) => () => {
      throw error;
    };
    client.connection.subscribe(fail('listener'));
    client.watchJobRun('r1', {
      onState: fail('onState'),
      onEnd: fail('onEnd'),
      onConnection: fail('onConnection'),
    });
    const later: number[] = [];
    client.watchJobRun('r1', { onState: ({ seq }) => later.push(seq) });
    const exchange = await server.next();
    exchange.write(opening('s1') + frame(run(1), '1'));
    exchange.write(frame(run(2, { status: 'passed' }), '2') + end('complete'));
    await vi.waitFor(() =>
      expect([seqs, later]).toEqual([
        [1, 2],
        [1, 2],
      ]),
    );
    await vi.waitFor(() => expect(client.connection.snapshot.state).toBe('ended'));
    expect(client.connection.snapshot.reconnects).toBe(0);
    expect(new Set(reported)).toEqual(new Set(['listener', 'onConnection', 'onState', 'onEnd']));
  });

  it.each(['', 'a:b', 'a#b', 'a b'])('of what is not an id (%j) is refused', async (id) => {
    const { client } = await watching();
    const onError = vi.fn();
    client.watchJobRun(id, { onError });
    await vi.waitFor(() => expect(onError).toHaveBeenCalledOnce());
    expect(onError.mock.calls[0]?.[0]).toMatchObject({ status: 400, message: `Not an id: ${id}` });
  });

  it('knows how long live events take', async () => {
    const { server, client } = await watching();
    const exchange = await server.next();
    exchange.write(opening('s1') + frame(run(1, { occurredAt: '2020-01-31T12:00:00.000Z' }), '1'));
    await vi.waitFor(() => expect(client.connection.snapshot.state).toBe('open'));
    expect(client.connection.snapshot.latencyMs).toBeNull();
    exchange.write(frame(run(2, { occurredAt: new Date().toISOString() }), '2'));
    await vi.waitFor(() => expect(client.connection.snapshot.latencyMs).toBeLessThan(5_000));
  });
});
