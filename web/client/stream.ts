import { createParser } from './parser.ts';
import {
  ask,
  failureOf,
  Hopeless,
  isTemporary,
  type Refusal,
  type RequestSettings,
  refusalOf,
} from './request.ts';
import type { EndReason, StreamInfo } from './schema.ts';
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
  problem: undefined,
};

/** Whom a stream serves. */
export interface StreamOwner {
  /** What to ask for now, and from where on; `undefined` where nothing is left to ask for. */
  request(): { query: string; cursor: string | undefined } | undefined;
  /** This went wrong. */
  onError(error: Refusal): void;
  /** Where the stream stands from here on, with the state that brought it there, if one did. */
  onFrame(state: State | undefined, cursor: string | undefined): void;
  /** The cursor was of no use: current states follow. */
  onReset(): void;
  /** Nothing will follow. */
  onOver(over: Over): void;
  onChange(): void;
}

/** One stream of Server-Sent Events, opened again for as long as that makes sense. */
export class Stream {
  state: ConnectionState = 'connecting';
  reconnects = 0;
  /** Why it is not open. */
  error: Refusal | undefined;
  /** When the present connection was opened, in milliseconds since the epoch. */
  openedAt = 0;
  readonly #settings: StreamSettings;
  readonly #name: string;
  readonly #owner: StreamOwner;
  #streamId: string | undefined;
  #heartbeatMs = 15_000;
  #retryMs = 0;
  #failures = 0;
  #abort: AbortController | undefined;
  /** When the last byte came; before the first, when the request was sent. */
  #lastByteAt = 0;
  #watchdog: ReturnType<typeof setTimeout> | undefined;
  #wake: (() => void) | undefined;
  #notBefore = 0;
  /** Whether the page woke up to a connection that seemed dead: the next one does not wait. */
  #woken = false;
  #closed = false;

  /** `name`: the function's, such as `job-status`. */
  constructor(settings: StreamSettings, name: string, owner: StreamOwner) {
    this.#settings = settings;
    this.#name = name;
    this.#owner = owner;
    void this.#run();
  }

  /** The page woke up, or the network came back: tries now, and doubts a stream that is silent. */
  wake(): void {
    if (this.#wake) {
      // What the server asked for with Retry-After holds all the same.
      if (Date.now() < this.#notBefore) return;
      this.#failures = 0;
      this.#wake();
      return;
    }
    const doubtful = this.#streamId ? DOUBTFUL_AFTER_HEARTBEATS * this.#heartbeatMs : DOUBTFUL_REQUEST_MS;
    if (this.#abort && Date.now() - this.#lastByteAt > doubtful) {
      this.#woken = true;
      this.#abort.abort();
    }
  }

  /**
   * Ends it, and tells the server: Lambda never learns that a reader left, and bills on. Where the server has not said
   * the stream's id yet, the stream is kept until it does.
   */
  close(): void {
    this.#closed = true;
    this.#wake?.();
    if (this.#streamId) this.#leave();
  }

  #leave(): void {
    const { url, beacon } = this.#settings;
    if (this.#streamId) beacon(`${url}/api/${this.#name}/streams/${this.#streamId}/close`);
    this.#streamId = undefined;
    this.#abort?.abort();
  }

  async #run(): Promise<void> {
    let short = 0;
    while (!this.#closed) {
      const request = this.#owner.request();
      if (!request) return;
      let retryAfterMs = 0;
      let token: string | undefined;
      let reason: Ending | undefined;
      let error: Refusal | undefined;
      this.openedAt = 0;
      try {
        const headers = { accept: EVENT_STREAM, ...(request.cursor && { 'last-event-id': request.cursor }) };
        const path = `/api/${this.#name}/events${request.query}`;
        const asked = await ask(this.#settings, path, { headers, cache: 'no-store' }, this.#begin);
        const [response] = asked;
        token = asked[1];
        const { status } = response;
        const type = response.headers.get('content-type') ?? '';
        if (status === 204) return this.#finish({ end: 'complete' });
        // WHATWG: an answer of another type, or with another status than 200, fails the connection.
        if (status === 200 && type.startsWith(EVENT_STREAM)) reason = await this.#read(response);
        else {
          error = await refusalOf(response);
          if (!isTemporary(status)) return this.#finish({ error });
          retryAfterMs = delayOf(response.headers.get('retry-after'));
        }
      } catch (thrown) {
        // The network, the watchdog, or a token that could not be had: all of them are temporary.
        error = failureOf(thrown);
        if (thrown instanceof Hopeless) return this.#finish({ error });
      } finally {
        clearTimeout(this.#watchdog);
        this.#streamId = undefined;
        this.#abort?.abort();
        this.#abort = undefined;
      }
      if (this.#closed) return;
      if (reason === EVICTED) return this.#finish({ error: EVICTION });
      if (reason === 'complete' || reason === 'closed') return this.#finish({ end: reason });
      if (reason === 'expired') await this.#settings.token.drop(token);
      short = Date.now() - this.openedAt < MIN_LIFE_MS ? short + 1 : 0;
      if (reason && short < 2) continue;
      this.reconnects += 1;
      if (!this.#woken) this.#fail(error ?? failureOf('The connection broke.'));
      await this.#pause(retryAfterMs);
    }
  }

  /** Another request goes out. */
  readonly #begin = (): AbortSignal => {
    if (this.#closed) throw new Error('It is closed.');
    this.#abort = new AbortController();
    this.#lastByteAt = Date.now();
    this.#watch(OPEN_TIMEOUT_MS);
    return this.#abort.signal;
  };

  /** Reads the stream to its end; returns the reason that the server gave, if it gave one. */
  async #read(response: Response): Promise<Ending | undefined> {
    let reason: Ending | undefined;
    const parse = createParser(({ event, data, id, retry }) => {
      if (retry) this.#retryMs = Number(retry) || 0;
      const json = data && JSON.parse(data);
      if (event === 'stream') this.#open(json);
      else if (event === 'reset') this.#owner.onReset();
      else if (event === 'end') reason = id === EVICTED ? id : json.reason;
      else if (!event && (json || id)) this.#owner.onFrame(json, id);
    });
    // React Native's, for one, has the text when all of it has come.
    if (!response.body) throw new Hopeless('This `fetch` cannot stream: give the client one that can.');
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return reason;
      this.#lastByteAt = Date.now();
      parse(decoder.decode(value, { stream: true }));
      this.#watch(this.#streamId ? DEAD_AFTER_HEARTBEATS * this.#heartbeatMs : OPEN_TIMEOUT_MS);
      if (reason) return reason;
    }
  }

  #open({ streamId, heartbeatSeconds }: StreamInfo): void {
    this.#streamId = streamId;
    this.#heartbeatMs = Math.max(1, heartbeatSeconds) * 1000;
    this.#failures = 0;
    this.error = undefined;
    this.openedAt = Date.now();
    if (this.#closed) this.#leave();
    else this.#is('open');
  }

  #watch(ms: number): void {
    clearTimeout(this.#watchdog);
    const silent = new Error(`Nothing came for ${Math.round(ms / 1000)} s.`);
    this.#watchdog = setTimeout(() => this.#abort?.abort(silent), ms);
  }

  /**
   * Waits before another try. WHATWG: the reconnection time that the server gave, and more where the attempt before has
   * failed, too; of what is added, any part is as likely ("full jitter"), so that clients do not come back together.
   */
  async #pause(retryAfterMs: number): Promise<void> {
    const most = Math.min(MAX_BACKOFF_MS, 1000 * 2 ** this.#failures++);
    const asked = Math.max(retryAfterMs, this.#retryMs);
    const usual = Math.max(MIN_WAIT_MS, asked + this.#settings.random() * most);
    const wait = this.#woken ? retryAfterMs : usual;
    this.#woken = false;
    this.#notBefore = Date.now() + retryAfterMs;
    this.#is('reconnecting');
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, wait);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }

  #fail(error: Refusal): void {
    this.error = error;
    this.#owner.onError(error);
  }

  #finish(over: Over): void {
    if (over.error) this.#fail(over.error);
    this.#is(over.error ? 'failed' : 'ended');
    this.#owner.onOver(over);
  }

  #is(state: ConnectionState): void {
    this.state = state;
    this.#owner.onChange();
  }
}

/** RFC 9110, section 10.2.3: seconds, or a date. */
const delayOf = (retryAfter: string | null): number =>
  Math.max(Number(retryAfter) * 1000 || Date.parse(`${retryAfter}`) - Date.now() || 0, 0);
