import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import { scriptedStream } from '../../testing/index.ts';
import { type Client, createClient } from '../index.ts';
import { subjectOf } from '../token.ts';
import { Locks } from './locks.ts';

beforeEach(() => {
  vi.stubGlobal('navigator', { locks: new Locks() });
});

afterEach(() => {
  vi.unstubAllGlobals();
});

const jwt = (claims: object) => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2ln`;
const mine = jwt({ sub: 'jö', org: 'acme' });

/** A tab that watches these runs: what it has seen, and the client to close it. */
function tab(stream: ReturnType<typeof scriptedStream>, ids: string[], token = mine) {
  const client: Client = createClient({
    fetch: stream.fetch,
    random: () => 0,
    token,
    url: 'http://scripted',
  });
  onTestFinished(() => client.close());
  const seen: string[] = [];
  for (const id of ids) client.watchJobRun(id, { onState: ({ runId, seq }) => seen.push(`${runId}:${seq}`) });
  return { client, seen };
}

/** The channels of the tabs from now on, in their order, which hear and say nothing while they are suspended. */
function suspendable() {
  const Real = BroadcastChannel;
  class Channel {
    isSuspended = false;
    onmessage: ((event: unknown) => void) | undefined;
    readonly #real: BroadcastChannel;

    constructor(name: string) {
      this.#real = new Real(name);
      this.#real.onmessage = (event) => this.isSuspended || this.onmessage?.(event);
      channels.push(this);
    }

    postMessage(message: unknown): void {
      if (!this.isSuspended) this.#real.postMessage(message);
    }

    close(): void {
      this.#real.close();
    }
  }
  const channels: Channel[] = [];
  vi.stubGlobal('BroadcastChannel', Channel);
  return channels;
}

/** Waits until no tab waits for the one that leads: the stream's watchdog is the only timer. */
const answered = () => vi.waitFor(() => expect(vi.getTimerCount()).toBe(1));

it('a tab whose lock is late is not taken for gone', async () => {
  const locks = new Locks();
  vi.stubGlobal('navigator', { locks });
  const stream = scriptedStream();
  const first = tab(stream, ['r0']);
  await vi.waitFor(() => expect(first.seen).toHaveLength(1));
  locks.lateMs = 300;
  const second = tab(stream, ['r1']);
  await vi.waitFor(() => expect(second.seen).toEqual(['r1:0']));
  stream.job({ runId: 'r1', status: 'running' });
  await vi.waitFor(() => expect(second.seen).toEqual(['r1:0', 'r1:1']));
});

it('ten tabs with thirty runs hold one stream', async () => {
  const stream = scriptedStream();
  const ids = Array.from({ length: 30 }, (_, n) => `r${n}`);
  const tabs = Array.from({ length: 10 }, (_, n) => tab(stream, ids.slice(n, n + 21)));
  for (const { seen } of tabs) await vi.waitFor(() => expect(seen).toHaveLength(21));
  await vi.waitFor(() => expect(stream.open).toBe(1));
  stream.job({ runId: 'r20', status: 'running' });
  for (const { seen } of tabs) await vi.waitFor(() => expect(seen.at(-1)).toBe('r20:1'));
  await vi.waitFor(() =>
    expect(tabs.map(({ client }) => client.connection.snapshot.state)).toEqual(Array(10).fill('open')),
  );
  expect(stream.open).toBe(1);
});

it('a tab that goes hands over, and nothing is lost or doubled', async () => {
  const stream = scriptedStream();
  const leader = tab(stream, ['a']);
  await vi.waitFor(() => expect(leader.seen).toEqual(['a:0']));
  const follower = tab(stream, ['a', 'b']);
  const other = tab(stream, ['b', 'c']);
  await vi.waitFor(() => expect(follower.seen.toSorted()).toEqual(['a:0', 'b:0']));
  await vi.waitFor(() => expect(other.seen.toSorted()).toEqual(['b:0', 'c:0']));
  stream.job({ runId: 'a', status: 'running' });
  await vi.waitFor(() => expect(follower.seen.at(-1)).toBe('a:1'));
  leader.client.close();
  stream.job({ runId: 'c', status: 'running' });
  stream.job({ runId: 'a', status: 'running' });
  stream.job({ runId: 'b', status: 'running' });
  stream.job({ runId: 'a', status: 'running' });
  await vi.waitFor(() =>
    expect(follower.seen.toSorted()).toEqual(['a:0', 'a:1', 'a:2', 'a:3', 'b:0', 'b:1']),
  );
  await vi.waitFor(() => expect(other.seen.toSorted()).toEqual(['b:0', 'b:1', 'c:0', 'c:1']));
  await vi.waitFor(() => expect(stream.open).toBe(1));
  expect(leader.seen).toEqual(['a:0', 'a:1']);
  expect(stream.requests.at(-1)?.headers.get('last-event-id')).not.toBeNull();
});

it('what a tab that is gone watched alone is closed', async () => {
  const stream = scriptedStream();
  const leader = tab(stream, ['a']);
  await vi.waitFor(() => expect(leader.seen).toEqual(['a:0']));
  const follower = createClient({ fetch: stream.fetch, token: mine, url: 'http://scripted' });
  follower.watchQueueStats();
  await vi.waitFor(() => expect(stream.open).toBe(2));
  follower.close();
  await vi.waitFor(() => expect(stream.open).toBe(1));
});

it('a tab that comes later gets what is known, and errors reach it too', async () => {
  const stream = scriptedStream();
  stream.job({ runId: 'a', status: 'running' });
  const leader = tab(stream, ['a']);
  await vi.waitFor(() => expect(leader.seen).toEqual(['a:1']));
  const follower = tab(stream, ['a']);
  await vi.waitFor(() => expect(follower.seen).toEqual(['a:1']));
  expect(stream.requests).toHaveLength(1);
  stream.answer(404, 'not yours');
  const onError = vi.fn();
  follower.client.watchTest('t', { onError });
  await vi.waitFor(() => expect(onError).toHaveBeenCalledOnce());
  expect(onError.mock.calls[0]?.[0]).toMatchObject({
    name: 'RuncastError',
    status: 404,
    message: 'not yours',
  });
});

/** A tab that leads, whose channel can be suspended, and one that follows and has its answer. */
async function leaderAndFollower() {
  const [channels, stream] = [suspendable(), scriptedStream()];
  const leader = tab(stream, ['a']);
  await vi.waitFor(() => expect(leader.seen).toEqual(['a:0']));
  const follower = tab(stream, ['a']);
  await vi.waitFor(() => expect(follower.seen).toEqual(['a:0']));
  await answered();
  return { channels, stream, leader, follower };
}

it('a tab that leads and is suspended is replaced, and follows when it goes on', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const { channels, stream, leader, follower } = await leaderAndFollower();

  const [channel] = channels;
  if (channel) channel.isSuspended = true;
  stream.job({ runId: 'a', status: 'running' });
  await vi.waitFor(() => expect(leader.seen).toEqual(['a:0', 'a:1']));
  follower.client.watchJobRun('b', { onState: ({ runId, seq }) => follower.seen.push(`${runId}:${seq}`) });
  await vi.advanceTimersByTimeAsync(2_900);
  expect(follower.seen).toEqual(['a:0']);
  await vi.advanceTimersByTimeAsync(200);
  await vi.waitFor(() => expect(follower.seen.toSorted()).toEqual(['a:0', 'a:1', 'b:0']));
  expect(stream.closed).toContain('s1');

  if (channel) channel.isSuspended = false;
  leader.client.watchJobRun('c', { onState: ({ runId, seq }) => leader.seen.push(`${runId}:${seq}`) });
  await vi.waitFor(() => expect(leader.seen).toEqual(['a:0', 'a:1', 'c:0']));
  stream.job({ runId: 'a', status: 'running' });
  for (const { seen } of [leader, follower]) await vi.waitFor(() => expect(seen.at(-1)).toBe('a:2'));
  await vi.waitFor(() => expect(stream.open).toBe(1));
  // It stands in line again.
  follower.client.close();
  stream.job({ runId: 'a', status: 'running' });
  await vi.waitFor(() => expect(leader.seen.at(-1)).toBe('a:3'));
});

it('a page that wakes up learns whether the tab that leads is suspended', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const page = new EventTarget();
  vi.stubGlobal('addEventListener', page.addEventListener.bind(page));
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const { channels, stream, follower } = await leaderAndFollower();
  page.dispatchEvent(new Event('online'));
  expect(vi.getTimerCount()).toBe(2);
  await answered();
  expect(stream.requests).toHaveLength(1);
  for (const channel of channels.slice(0, 1)) channel.isSuspended = true;
  page.dispatchEvent(new Event('online'));
  await vi.advanceTimersByTimeAsync(3_100);
  stream.job({ runId: 'a', status: 'running' });
  await vi.waitFor(() => expect(follower.seen).toEqual(['a:0', 'a:1']));
});

it('a tab that has closed its watches stands idle', async () => {
  const stream = scriptedStream();
  const leader = tab(stream, ['a']);
  await vi.waitFor(() => expect(leader.seen).toEqual(['a:0']));
  const { client } = tab(stream, []);
  const watch = client.watchJobRun('a');
  await vi.waitFor(() => expect(client.connection.snapshot.state).toBe('open'));
  watch.close();
  await vi.waitFor(() => expect(client.connection.snapshot.state).toBe('idle'));
  expect(leader.client.connection.snapshot.state).toBe('open');
});

it('a tab to which locks are refused works alone', async () => {
  const refuse = async () => {
    throw new DOMException('This origin is opaque.', 'SecurityError');
  };
  vi.stubGlobal('navigator', { locks: { request: refuse } });
  const stream = scriptedStream();
  const { seen, client } = tab(stream, ['a']);
  await vi.waitFor(() => expect(seen).toEqual(['a:0']));
  client.close();
  await vi.waitFor(() => expect(stream.open).toBe(0));
});

it('tabs of different subjects share nothing', async () => {
  const stream = scriptedStream();
  const one = tab(stream, ['a']);
  const another = tab(stream, ['a'], jwt({ sub: 'x', org: 'acme' }));
  const narrower = tab(stream, ['a'], jwt({ sub: 'jö', org: 'acme', projects: ['p'] }));
  const opaque = tab(stream, ['a'], 'opaque');
  for (const { seen } of [one, another, narrower, opaque])
    await vi.waitFor(() => expect(seen).toEqual(['a:0']));
  expect(stream.open).toBe(4);
});

it('a token says whose it is', () => {
  expect(subjectOf(jwt({ sub: 'jo', org: 'acme' }))).toBe('["acme","jo",null]');
  expect(subjectOf(mine)).not.toBe(subjectOf(jwt({ sub: 'jä', org: 'acme' })));
  expect(subjectOf('opaque')).toBeUndefined();
  expect(subjectOf(undefined)).toBeUndefined();
});

it('a tab that hears of a change before it was told what there is gets all of it', async () => {
  const stream = scriptedStream();
  for (let n = 0; n < 3; n++) stream.job({ runId: `r${n}`, status: 'running' });
  const watch = ({ client }: { client: Client }) => {
    const seen: string[] = [];
    client.watchProject(
      { projectId: 'p', kind: 'job' },
      { onState: ({ runId, seq }) => seen.push(`${runId}:${seq}`) },
    );
    return seen;
  };
  const leader = tab(stream, ['r0']);
  const first = watch(leader);
  await vi.waitFor(() => expect(first).toHaveLength(3));
  const follower = tab(stream, ['r0']);
  await vi.waitFor(() => expect(follower.seen).toEqual(['r0:1']));
  await vi.waitFor(() => expect(stream.open).toBe(1));
  const second = watch(follower);
  stream.job({ runId: 'r1', status: 'running' });
  await vi.waitFor(() => expect(second.toSorted()).toEqual(['r0:1', 'r1:2', 'r2:1']));
});
