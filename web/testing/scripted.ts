import type { EndReason, ExecutionState, JobState, QueueStats, TestState } from '../client/index.ts';
import { isTerminal } from '../client/index.ts';
import { idOf } from '../client/topic.ts';
import { jobState, queueStats, testState } from './states.ts';

/** For how long the stream of a run that has ended waits for its tests, in milliseconds. */
const SETTLE_MS = 10_000;

/** How many finished executions a project's stream begins with. */
const MAX_FINISHED = 20;

/** A request for a stream. */
export interface ScriptedRequest {
  /** Path and query. */
  url: string;
  headers: Headers;
}

interface Connection {
  name: string;
  streamId: string;
  /** The executions on it, in the order of the request; none where it is a project's or the queues'. */
  ids: string[];
  /** What was sent of each of them. */
  positions: number[];
  isProject: boolean;
  controller: ReadableStreamDefaultController<Uint8Array>;
  finish: () => void;
}

/**
 * Stands in for the network: `createClient({ fetch: stream.fetch })`. It has executions as the server has them, and
 * serves every stream of them as the server does, cursors included; the script says what happens.
 */
export class ScriptedStream {
  /** Every request for a stream so far. */
  readonly requests: ScriptedRequest[] = [];
  /** The ids of the streams that were ended with the close beacon. */
  readonly closed: string[] = [];
  readonly #events: ExecutionState[] = [];
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
    const [, name = '', , streamId = ''] =
      /^\/api\/([^/]+)\/(events|streams)\/?([^/]*)/.exec(url.pathname) ?? [];
    if (init.method === 'POST') {
      this.closed.push(streamId);
      for (const connection of this.#connections) if (connection.streamId === streamId) connection.finish();
      return new Response(null, { status: 204 });
    }
    init.signal?.throwIfAborted();
    const headers = new Headers(init.headers);
    this.requests.push({ url: url.pathname + url.search, headers });
    const answer = this.#answers.shift();
    if (answer) return answer;
    const isProject = url.searchParams.has('projectId');
    const ids = streamId ? [streamId] : url.searchParams.getAll(name === 'job-status' ? 'runId' : 'testId');
    const kind = name === 'job-status' ? 'job' : 'test';
    const events = this.#events.filter((event) => event.kind === kind);
    const cursor = headers.get('last-event-id');
    const positions = isProject ? [Number(cursor)] : (cursor ?? '').split(',').map(Number);
    const isResumed = cursor !== null && (isProject || positions.length === ids.length);
    const isOver = (id: string, index: number) => {
      const last = events.findLast((event) => idOf(event) === id);
      return last && isTerminal(last.status) && last.seq === positions[index];
    };
    if (isResumed && ids.length && ids.every(isOver)) return new Response(null, { status: 204 });

    let connection: Connection | undefined;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const finish = () => {
          if (this.#connections.delete(opened)) controller.close();
        };
        const opened = { name, streamId: `s${++this.#count}`, ids, positions, isProject, controller, finish };
        connection = opened;
        this.#connections.add(opened);
        init.signal?.addEventListener('abort', () => {
          if (this.#connections.delete(opened)) controller.error(init.signal?.reason);
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
      events.forEach((event, index) => {
        const after = isProject ? positions[0] : positions[ids.indexOf(idOf(event))];
        if (after !== undefined && (isProject ? index + 1 : event.seq) > after && connection) {
          this.#send(connection, event, index + 1);
        }
      });
      // An end that was taken back is none.
      this.#complete(connection, events);
    } else this.#begin(connection, kind, events, cursor !== null);
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  };

  /** An event of a job run: its `seq` is the next one. */
  job(given: Partial<JobState> & Pick<JobState, 'runId'>): JobState {
    return this.#publish(jobState({ ...given, seq: this.#next('job', given.runId) }));
  }

  /** An event of a test: its `seq` is the next one. */
  test(given: Partial<TestState> & Pick<TestState, 'testId'>): TestState {
    return this.#publish(testState({ ...given, seq: this.#next('test', given.testId) }));
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
    for (const connection of [...this.#connections]) {
      const [kind = ''] = connection.name.split('-');
      if (kind !== 'queue') this.#begin(connection, kind, [], true);
    }
  }

  /** The token runs out. */
  expire(): void {
    this.end('expired');
  }

  /** The next request for a stream gets this answer instead; a problem (RFC 9457) says why. */
  answer(status: number, detail = '', headers: Record<string, string> = {}): void {
    const problem = { type: 'about:blank', title: '', status, detail, requestId: '-' };
    const body = status === 204 ? null : JSON.stringify(problem);
    this.#answers.push(
      new Response(body, { status, headers: { 'content-type': 'application/problem+json', ...headers } }),
    );
  }

  #next(kind: string, id: string): number {
    return this.#events.filter((event) => event.kind === kind && idOf(event) === id).length + 1;
  }

  #publish<S extends ExecutionState>(state: S): S {
    this.#events.push(state);
    const events = this.#events.filter((event) => event.kind === state.kind);
    for (const connection of [...this.#connections]) {
      const isWatched = connection.isProject || connection.ids.includes(idOf(state));
      if (connection.name === `${state.kind}-status` && isWatched) {
        this.#send(connection, state, events.length);
        this.#complete(connection, events);
      }
    }
    return state;
  }

  #begin(connection: Connection, kind: string, events: ExecutionState[], isReset: boolean): void {
    const { ids, isProject } = connection;
    const latest = new Map<string, ExecutionState>();
    for (const event of events) {
      // What changed last stands last.
      latest.delete(idOf(event));
      latest.set(idOf(event), event);
    }
    const finished = [...latest.values()].filter(({ status }) => isTerminal(status));
    for (const over of finished.slice(0, -MAX_FINISHED)) if (isProject) latest.delete(idOf(over));
    const none = (id: string) => (kind === 'job' ? jobState({ runId: id }) : testState({ testId: id }));
    const states = isProject ? [...latest.values()] : ids.map((id) => latest.get(id) ?? none(id));
    const cursor = isProject ? `${events.length}` : states.map(({ seq }) => seq).join();
    connection.positions = states.map(({ seq }) => seq);
    if (isReset) this.#write(connection, 'event: reset\ndata: {}\n\n');
    states.forEach((state, index) => {
      // A cursor never covers what was not sent: only the last state carries it.
      const id = index === states.length - 1 ? `id: ${cursor}\n` : '';
      this.#write(connection, `${id}data: ${JSON.stringify(state)}\n\n`);
    });
    if (!states.length) this.#write(connection, `id: ${cursor}\n\n`);
    this.#complete(connection, events);
  }

  #send(connection: Connection, state: ExecutionState, projectSeq: number): void {
    connection.positions[connection.ids.indexOf(idOf(state))] = state.seq;
    const cursor = connection.isProject ? projectSeq : connection.positions.join();
    this.#write(connection, `id: ${cursor}\ndata: ${JSON.stringify(state)}\n\n`);
  }

  /** Ends a stream on which all is over: at once, or, where tests of its runs go on, when they have had their time. */
  #complete(connection: Connection, events: ExecutionState[], isLate = false): void {
    const last = connection.ids.map((id) => events.findLast((event) => idOf(event) === id));
    if (this.#isSilent || !last.length || !last.every((event) => event && isTerminal(event.status))) return;
    if (!isLate && last.some(hasOpenTests)) {
      setTimeout(() => {
        const now = this.#events.filter((event) => `${event.kind}-status` === connection.name);
        this.#complete(connection, now, true);
      }, SETTLE_MS);
      return;
    }
    this.#write(connection, 'event: end\ndata: {"reason":"complete"}\n\n');
    connection.finish();
  }

  #write(connection: Connection, frames: string): void {
    if (this.#isSilent || !this.#connections.has(connection)) return;
    connection.controller.enqueue(new TextEncoder().encode(frames));
  }
}

const hasOpenTests = (state: ExecutionState | undefined): boolean =>
  state?.kind === 'job' && !!state.tests && state.tests.waiting + state.tests.running > 0;

/** A network that does what a test says. */
export const scriptedStream = (): ScriptedStream => new ScriptedStream();
