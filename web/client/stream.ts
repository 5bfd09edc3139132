import { failureOf, Hopeless, type Refusal } from './error.ts';
import { createParser } from './parser.ts';
import { ask, isTemporary, type RequestSettings, refusalOf } from './request.ts';
import type { EndReason } from './schema.ts';
import type { Over } from './topic.ts';
import type { ConnectionState, State } from './types.ts';

/** How long the first frame may take, in milliseconds: a cold start, and Postgres slow to answer. */
const OPEN_TIMEOUT_MS = 30_000;
/** The shortest wait before another try, in milliseconds, whatever the server and `random` say. */
const MIN_WAIT_MS = 250;
/** The longest random wait before another try, in milliseconds. */
const MAX_BACKOFF_MS = 30_000;
/** A stream silent for so many heartbeats is dead: one ping may be late, two are not. */
const DEAD_AFTER_HEARTBEATS = 2.5;
/** The same when the page wakes up: the pings of its sleep would be there by now. */
const DOUBTFUL_AFTER_HEARTBEATS = 1.25;
/** And a request without an answer: the network that it went out on may be gone. */
const DOUBTFUL_REQUEST_MS = 20_000;
/** A stream that ends itself sooner than this does not deserve to be opened again without a wait. */
const MIN_LIFE_MS = 1_000;

const EVENT_STREAM = 'text/event-stream';

/** The id of a stream's last frame where another of the subject's has its place. */
const EVICTED = 'evicted';

/** What all streams of a client have in common. */
export interface StreamSettings extends RequestSettings {
  random: () => number;
  /** Sends a POST that outlives the page. */
  beacon: (url: string) => void;
}

/** Why a stream ended. */
type Ending = EndReason | typeof EVICTED;

/** Coming back would only take the place of another, which would come back, too. */
const EVICTION: Refusal = {
  status: 429,
  message: 'Too many open streams: a newer one took the place of this one.',
};

/** Whom a stream serves. */
export interface StreamOwner {
  /** What to ask for now, and from where on; `undefined` where nothing is left to ask for. */
  request(): [query: string, cursor: string] | undefined;
  /** Where the stream stands from here on, with the state that brought it there, if one did. */
  onFrame(state: State | undefined, cursor: string | undefined): void;
  /** The cursor was of no use: current states follow. */
  onReset(): void;
  /** Nothing will follow. */
  onOver(over: Over): void;
  onChange(): void;
}

export interface Stream {
  readonly state: ConnectionState;
  /** Why it is not open. */
  readonly error: Refusal | undefined;
  /** When the present connection was opened, in milliseconds since the epoch. */
  readonly openedAt: number;
  /** The page woke up, or the network came back: tries now, and doubts a stream that is silent. */
  wake(): void;
  /**
   * Ends it, and tells the server: Lambda never learns that a reader left, and bills on. Where the server has not said the
   * stream's id yet, the stream is kept until it does.
   */
  close(): void;
}

/**
 * One stream of Server-Sent Events, opened again for as long as that makes sense. `service`: the function that serves it,
 * such as `job-status`.
 */
export function openStream(settings: StreamSettings, service: string, owner: StreamOwner): Stream {
  let streamId: string | undefined;
  let heartbeatMs = 15_000;
  let retryMs = 0;
  let failures = 0;
  let abort: AbortController | undefined;
  /** When the last byte came; before the first, when the request was sent. */
  let lastByteAt = 0;
  let watchdog: ReturnType<typeof setTimeout> | undefined;
  let goOn: (() => void) | undefined;
  let notBefore = 0;
  /** Whether the page woke up to a connection that seemed dead: the next one does not wait. */
  let isWoken = false;
  let isClosed = false;

  const stream = {
    state: 'connecting' as ConnectionState,
    error: undefined as Refusal | undefined,
    openedAt: 0,
    wake() {
      const doubtful = streamId ? DOUBTFUL_AFTER_HEARTBEATS * heartbeatMs : DOUBTFUL_REQUEST_MS;
      if (goOn) {
        // What the server asked for with Retry-After holds all the same.
        if (Date.now() < notBefore) return;
        failures = 0;
        goOn();
      } else if (abort && Date.now() - lastByteAt > doubtful) {
        isWoken = true;
        abort.abort();
      }
    },
    close() {
      isClosed = true;
      goOn?.();
      if (streamId) leave();
    },
  };

  const leave = () => {
    settings.beacon(`${settings.url}/api/${service}/streams/${streamId}/close`);
    streamId = undefined;
    abort?.abort();
  };

  const become = (state: ConnectionState) => {
    stream.state = state;
    owner.onChange();
  };

  const watch = (ms: number) => {
    clearTimeout(watchdog);
    const silence = new Error(`Nothing came for ${ms / 1000} s.`);
    watchdog = setTimeout(() => abort?.abort(silence), ms);
  };

  /** Another request goes out. */
  const begin = (): AbortSignal => {
    if (isClosed) throw new Error();
    abort = new AbortController();
    lastByteAt = Date.now();
    watch(OPEN_TIMEOUT_MS);
    return abort.signal;
  };

  /** Reads the stream to its end; returns the reason that the server gave, if it gave one. */
  const read = async ({ body }: Response): Promise<Ending | undefined> => {
    let reason: Ending | undefined;
    const parse = createParser(({ event, data, id, retry }) => {
      if (retry) retryMs = +retry || 0;
      const json = data && JSON.parse(data);
      if (event === 'stream') {
        streamId = json.streamId;
        heartbeatMs = Math.max(1, json.heartbeatSeconds) * 1000;
        failures = 0;
        stream.error = undefined;
        stream.openedAt = Date.now();
        if (isClosed) leave();
        else become('open');
      } else if (event === 'reset') owner.onReset();
      else if (event === 'end') reason = id === EVICTED ? id : json.reason;
      else if (!event && (json || id)) owner.onFrame(json, id);
    });
    // React Native's, for one, has the text when all of it has come.
    if (!body) throw new Hopeless('This `fetch` cannot stream: give another.');
    const reader = body.getReader();
    const decoder = new TextDecoder();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return reason;
      lastByteAt = Date.now();
      parse(decoder.decode(value, { stream: true }));
      watch(streamId ? DEAD_AFTER_HEARTBEATS * heartbeatMs : OPEN_TIMEOUT_MS);
      if (reason) return reason;
    }
  };

  /**
   * Waits before another try. WHATWG: the reconnection time that the server gave, and more where the attempt before has
   * failed, too; of what is added, any part is as likely ("full jitter"), so that clients do not come back together.
   */
  const pause = async (retryAfterMs: number) => {
    const most = Math.min(MAX_BACKOFF_MS, 1000 * 2 ** failures++);
    const usual = Math.max(MIN_WAIT_MS, Math.max(retryAfterMs, retryMs) + settings.random() * most);
    const wait = isWoken ? retryAfterMs : usual;
    isWoken = false;
    notBefore = Date.now() + retryAfterMs;
    become('reconnecting');
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, wait);
      goOn = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    goOn = undefined;
  };

  const run = async () => {
    let short = 0;
    while (!isClosed) {
      const request = owner.request();
      if (!request) return;
      const [query, cursor] = request;
      let retryAfterMs = 0;
      let token: string | undefined;
      let reason: Ending | undefined;
      let error: Refusal | undefined;
      let over: Over | undefined;
      stream.openedAt = 0;
      try {
        const headers = { accept: EVENT_STREAM, ...(cursor && { 'last-event-id': cursor }) };
        const path = `/api/${service}/events${query}`;
        const [response, sent] = await ask(settings, path, headers, 'no-store', begin);
        token = sent;
        const { status } = response;
        // WHATWG: an answer of another type, or with another status than 200, fails the connection.
        if (status === 204) reason = 'complete';
        else if (status === 200 && response.headers.get('content-type')?.startsWith(EVENT_STREAM)) {
          reason = await read(response);
        } else {
          error = await refusalOf(response);
          if (!isTemporary(status)) over = { error };
          retryAfterMs = delayOf(response.headers.get('retry-after'));
        }
      } catch (thrown) {
        // The network, the watchdog, or a token that could not be had: all of them are temporary.
        error = failureOf(thrown);
        if (thrown instanceof Hopeless) over = { error };
      } finally {
        clearTimeout(watchdog);
        streamId = undefined;
        abort?.abort();
        abort = undefined;
      }
      if (isClosed) return;
      if (reason === EVICTED) over = { error: EVICTION };
      if (reason === 'complete' || reason === 'closed') over = { end: reason };
      if (over) return owner.onOver(over);
      if (reason === 'expired') await settings.token.drop(token);
      short = Date.now() - stream.openedAt < MIN_LIFE_MS ? short + 1 : 0;
      if (reason && short < 2) continue;
      if (!isWoken) stream.error = error ?? failureOf('The connection broke.');
      await pause(retryAfterMs);
    }
  };

  void run();
  return stream;
}

/** RFC 9110, section 10.2.3: seconds, or a date. */
const delayOf = (retryAfter: string | null): number =>
  Math.max(Number(retryAfter) * 1000 || Date.parse(`${retryAfter}`) - Date.now() || 0, 0);
