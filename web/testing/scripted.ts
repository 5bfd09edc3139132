import type {
  EndReason,
  ExecutionState,
  JobState,
  QueueStats,
  Status,
  TestCounts,
  TestState,
} from '../client/index.ts';
import { isTerminal } from '../client/index.ts';
import { Part, type ScriptedEvent } from './part.ts';
import { jobState, queueStats, testState } from './states.ts';

/** For how long the stream of a run that has ended waits for its tests, in milliseconds. */
const SETTLE_MS = 10_000;

/** How many events of a run's history a page has, as the server's. */
const HISTORY_PAGE = 200;

/** For how long a signed address serves, in milliseconds. */
const SIGNED_MS = 300_000;

/** A request for a stream, or for what is to be read. */
export interface ScriptedRequest {
  /** Path and query. */
  url: string;
  headers: Headers;
}

interface Connection {
  name: string;
  streamId: string;
  /** In the order of the request; none on the stream of the queues. */
  parts: Part[];
  controller: ReadableStreamDefaultController<Uint8Array>;
  finish: () => void;
}

/**
 * Stands in for the network: `createClient({ fetch: stream.fetch })`. It has executions as the server has them, and
 * serves every stream and every read of them as the server does, cursors included; the script says what happens.
 */
export class ScriptedStream {
  /** Every request for a stream so far. */
  readonly requests: ScriptedRequest[] = [];
  /** Every request for what is no stream so far. */
  readonly reads: ScriptedRequest[] = [];
  /** The ids of the streams that were ended with the close beacon. */
  readonly closed: string[] = [];
  readonly #events: ScriptedEvent[] = [];
  /** How many events each execution has. */
  readonly #seqs = new Map<string, number>();
  readonly #connections = new Set<Connection>();
  readonly #answers: Response[] = [];
  #stats = queueStats();
  #isSilent = false;
  #count = 0;

  /** How many streams are open. */
  get open(): number {
    return this.#connections.size;
  }

  readonly fetch = async (input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(input instanceof Request ? input.url : input, 'http://scripted');
    const [, name = '', what = '', id = ''] =
      /^\/api\/([^/]+)(?:\/(events|streams|[^/]+)\/?([^/]*))?/.exec(url.pathname) ?? [];
    if (init.method === 'POST') {
      this.closed.push(id);
      for (const connection of this.#connections) if (connection.streamId === id) connection.finish();
      return new Response(null, { status: 204 });
    }
    init.signal?.throwIfAborted();
    const request = { url: url.pathname + url.search, headers: new Headers(init.headers) };
    const isStream = name !== 'runs' && what !== 'artifacts';
    (isStream ? this.requests : this.reads).push(request);
    const answer = this.#answers.shift();
    if (answer) return answer;
    if (what === 'artifacts') return this.#readArtifact(id);
    if (name === 'runs')
      return what ? this.#readRun(what, url.searchParams) : this.#readRuns(url.searchParams);
    return this.#open(name, id, url.searchParams, request.headers.get('last-event-id'), init.signal);
  };

  /**
   * An event of a job run: its `seq` is the next one, and it counts the tests that name it. Without a project it is of
   * whichever is asked for.
   */
  job(given: Partial<JobState> & Pick<JobState, 'runId'>, projectId?: string): JobState {
    const tests = countsOf(this.testsOf(given.runId));
    return this.#publish(jobState({ tests, ...given, seq: this.#next('job', given.runId) }), projectId);
  }

  /** An event of a test: its `seq` is the next one. Without a project it is of whichever is asked for. */
  test(given: Partial<TestState> & Pick<TestState, 'testId'>, projectId?: string): TestState {
    return this.#publish(testState({ ...given, seq: this.#next('test', given.testId) }), projectId);
  }

  /** An event of each of these tests, at once. */
  tests(given: readonly (Partial<TestState> & Pick<TestState, 'testId'>)[], projectId?: string): void {
    const events = given.map((each) => ({
      state: testState({ ...each, seq: this.#next('test', each.testId) }),
      projectId,
    }));
    this.#events.push(...events);
    for (const connection of [...this.#connections]) {
      if (connection.name === 'test-status') for (const event of events) this.#send(connection, event);
      this.#complete(connection);
    }
  }

  /** The tests of a run, as they stand. */
  testsOf(runId: string): TestState[] {
    return new Part('test-status', 'runId', runId).states(this.#events) as TestState[];
  }

  /** New statistics. */
  queues(stats: Partial<QueueStats>): void {
    this.#stats = queueStats(stats);
    for (const connection of this.#connections) {
      if (connection.name === 'queue-stats')
        this.#write(connection, `id: 0\ndata: ${JSON.stringify(this.#stats)}\n\n`);
    }
  }

  /** From now on nothing comes, although the streams stay open; events are kept for who comes back. */
  silence(isSilent = true): void {
    this.#isSilent = isSilent;
  }

  /** The connections break. */
  drop(): void {
    for (const connection of [...this.#connections]) {
      this.#connections.delete(connection);
      connection.controller.error(new TypeError('The connection broke.'));
    }
  }

  /** The server ends the streams, for this reason. */
  end(reason: EndReason): void {
    for (const connection of [...this.#connections]) {
      this.#write(connection, `event: end\ndata: ${JSON.stringify({ reason })}\n\n`);
      connection.finish();
    }
  }

  /** Newer streams of the same subject take the places of those that are open. */
  evict(): void {
    for (const connection of [...this.#connections]) {
      this.#write(connection, 'event: end\ndata: {"reason":"closed"}\nid: evicted\n\n');
      connection.finish();
    }
  }

  /** The log is lost: executions begin anew, and so does every stream, with a reset. */
  reset(): void {
    this.#events.length = 0;
    this.#seqs.clear();
    for (const connection of [...this.#connections]) {
      if (connection.parts[0]) this.#begin(connection, true);
    }
  }

  /** The token runs out. */
  expire(): void {
    this.end('expired');
  }

  /** The next request gets this answer instead; a problem (RFC 9457) says why. */
  answer(status: number, detail = '', headers: Record<string, string> = {}): void {
    const body = status === 204 ? null : JSON.stringify(problemOf(status, detail));
    this.#answers.push(
      new Response(body, { status, headers: { 'content-type': 'application/problem+json', ...headers } }),
    );
  }

  #next(kind: string, id: string): number {
    const seq = (this.#seqs.get(`${kind} ${id}`) ?? 0) + 1;
    this.#seqs.set(`${kind} ${id}`, seq);
    return seq;
  }

  #publish<S extends ExecutionState>(state: S, projectId: string | undefined): S {
    const event = { state, projectId };
    this.#events.push(event);
    for (const connection of [...this.#connections]) {
      if (connection.name === `${state.kind}-status`) this.#send(connection, event);
      this.#complete(connection);
    }
    return state;
  }

  #open(
    name: string,
    id: string,
    query: URLSearchParams,
    cursor: string | null,
    signal: AbortSignal | null | undefined,
  ): Response {
    const own = name === 'job-status' ? 'runId' : 'testId';
    const asked: [string, string][] = id ? [[own, id]] : [...query].filter(([field]) => field.endsWith('Id'));
    const parts = asked.map(([field, value]) => new Part(name, field, value));
    const positions = (cursor ?? '').split(',').map(Number);
    const isResumed = cursor !== null && positions.length === parts.length;
    parts.forEach((part, index) => {
      if (isResumed) part.position = positions[index] ?? 0;
    });
    const isOver = (part: Part) => part.isOver(this.#events) && part.position === part.end(this.#events);
    if (isResumed && parts.length && parts.every(isOver)) return new Response(null, { status: 204 });

    let connection: Connection | undefined;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const finish = () => {
          if (this.#connections.delete(opened)) controller.close();
        };
        const opened = { name, streamId: `s${++this.#count}`, parts, controller, finish };
        connection = opened;
        this.#connections.add(opened);
        signal?.addEventListener('abort', () => {
          if (this.#connections.delete(opened)) controller.error(signal.reason);
        });
      },
      cancel: () => {
        if (connection) this.#connections.delete(connection);
      },
    });
    if (!connection) throw new Error('A stream starts at once.');
    const opening = { streamId: connection.streamId, heartbeatSeconds: 15, endsAt: new Date().toISOString() };
    this.#write(connection, `retry: 0\nevent: stream\ndata: ${JSON.stringify(opening)}\n\n`);
    if (name === 'queue-stats') this.#write(connection, `id: 0\ndata: ${JSON.stringify(this.#stats)}\n\n`);
    else if (isResumed) {
      // Nobody has reported it yet, which is worth saying.
      for (const part of parts) {
        const unknown = part.unknown(this.#events);
        if (unknown) this.#write(connection, `data: ${JSON.stringify(unknown)}\n\n`);
      }
      for (const event of this.#events) this.#send(connection, event);
      // An end that was taken back is none.
      this.#complete(connection);
    } else this.#begin(connection, cursor !== null);
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  }

  #begin(connection: Connection, isReset: boolean): void {
    const { parts } = connection;
    if (isReset) this.#write(connection, 'event: reset\ndata: {}\n\n');
    const states = parts.flatMap((part) => part.states(this.#events));
    for (const part of parts) part.position = part.end(this.#events);
    const cursor = parts.map(({ position }) => position).join();
    states.forEach((state, index) => {
      // A cursor never covers what was not sent: only the last state carries it.
      const id = index === states.length - 1 ? `id: ${cursor}\n` : '';
      this.#write(connection, `${id}data: ${JSON.stringify(state)}\n\n`);
    });
    if (!states.length) this.#write(connection, `id: ${cursor}\n\n`);
    this.#complete(connection);
  }

  /** Sends an event once for each part that it belongs to and that has not had it. */
  #send(connection: Connection, event: ScriptedEvent): void {
    for (const part of connection.parts) {
      const position = part.positionOf(event, this.#events);
      if (position === undefined || position <= part.position) continue;
      part.position = position;
      const cursor = connection.parts.map((each) => each.position).join();
      this.#write(connection, `id: ${cursor}\ndata: ${JSON.stringify(event.state)}\n\n`);
    }
  }

  /** Ends a stream on which all is over: at once, or, where tests of its runs go on, when they have had their time. */
  #complete(connection: Connection, isLate = false): void {
    const { parts } = connection;
    if (this.#isSilent || !parts.length || !parts.every((part) => part.isOver(this.#events, true))) return;
    if (!isLate && parts.some((part) => part.isSettling(this.#events))) {
      setTimeout(() => this.#complete(connection, true), SETTLE_MS);
      return;
    }
    this.#write(connection, 'event: end\ndata: {"reason":"complete"}\n\n');
    connection.finish();
  }

  #runs(): Map<string, ScriptedEvent & { state: JobState }> {
    const runs = new Map<string, ScriptedEvent & { state: JobState }>();
    for (const { state, projectId } of this.#events) {
      if (state.kind !== 'job') continue;
      // What changed last stands last.
      runs.delete(state.runId);
      runs.set(state.runId, { state, projectId });
    }
    return runs;
  }

  #readRuns(query: URLSearchParams): Response {
    const asked = query.get('projectId');
    const statuses = query.getAll('status');
    const search = (query.get('search') ?? '').toLowerCase();
    const limit = Number(query.get('limit') ?? 50);
    const matching = [...this.#runs().values()]
      .filter(({ projectId }) => projectId === undefined || projectId === asked)
      .map(({ state }) => state)
      .filter(({ status }) => !statuses.length || statuses.includes(status))
      .filter(({ runId, name, labels }) =>
        `${runId} ${name ?? ''} ${labels ? JSON.stringify(labels) : ''}`.toLowerCase().includes(search),
      )
      .reverse();
    const ended = matching.filter(({ status }) => isTerminal(status));
    const before = query.get('before');
    const start = before === null ? 0 : ended.findIndex(({ runId }) => `before-${runId}` === before);
    const page = ended.slice(start, start + limit);
    const following = ended[start + limit];
    const open = before === null ? matching.filter(({ status }) => !isTerminal(status)) : [];
    return Response.json({
      runs: [...open, ...page],
      next: following ? `before-${following.runId}` : null,
    });
  }

  #readRun(runId: string, query: URLSearchParams): Response {
    const events = this.#events.map(({ state }) => state);
    const its = events.filter((state) => state.kind === 'job' && state.runId === runId);
    const last = its.at(-1);
    if (!last) return Response.json(problemOf(404, 'There is no such run.'), { status: 404 });
    if (query.get('history') !== 'true') return Response.json(last);
    const rest = its.filter(({ seq }) => seq > Number(query.get('after') ?? 0));
    const page = rest.slice(0, HISTORY_PAGE);
    return Response.json({ events: page, next: rest.length > page.length ? page.at(-1)?.seq : null });
  }

  /** Each bucket is the operator's. */
  #readArtifact(testId: string): Response {
    const [state] = new Part('test-status', 'testId', testId).states(this.#events) as TestState[];
    const [, path] = /^s3:\/\/(.+\/.+)/.exec(state?.s3Url ?? '') ?? [];
    if (!path) return Response.json(problemOf(404, 'There is no such artifact.'), { status: 404 });
    const expiresAt = new Date(Date.now() + SIGNED_MS).toISOString();
    return Response.json({ url: `https://scripted.example/${path}?expires=${expiresAt}`, expiresAt });
  }

  #write(connection: Connection, frames: string): void {
    if (this.#isSilent || !this.#connections.has(connection)) return;
    connection.controller.enqueue(new TextEncoder().encode(frames));
  }
}

/** How tests stand, as the worker counts them; `null` where there are none. */
function countsOf(tests: readonly TestState[]): TestCounts | null {
  if (!tests.length) return null;
  const of = (name: Status) => tests.filter(({ status }) => status === name).length;
  return {
    total: tests.length,
    waiting: of('waiting'),
    running: of('running'),
    completed: of('completed'),
    passed: of('passed'),
    failed: of('failed'),
    error: of('error'),
    cancelled: of('cancelled'),
    skipped: of('skipped'),
    flaky: tests.filter(({ flaky }) => flaky).length,
  };
}

const problemOf = (status: number, detail: string) => ({
  type: 'about:blank',
  title: '',
  status,
  detail,
  requestId: '-',
});

/** A network that does what a test says. */
export const scriptedStream = (): ScriptedStream => new ScriptedStream();
