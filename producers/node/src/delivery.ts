import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { type Answer, post } from './http.ts';
import type { Target } from './options.ts';
import { lineOf } from './text.ts';

const packed = promisify(gzip);

/** From which size on a body is packed, in characters. */
const PACKED_FROM = 4096;

const FIRST_DELAY_MS = 200;
const MAX_DELAY_MS = 10_000;

/** How soon it tries again once it hurries, and after how many failures it then gives up. */
const HURRIED_DELAY_MS = 100;
const HURRIED_FAILURES = 5;

/** What is not mended by sending again: docs/producers.md. 3xx and 404: it is another server. */
const FINAL = new Set([301, 302, 303, 307, 308, 400, 401, 404, 405, 413, 415]);

/** What became of updates that were taken. */
export interface Receipt {
  accepted: number;
  duplicates: number;
  rejected: { eventId: string; reason: string }[];
}

/** Why updates were not taken. */
export class NotSent extends Error {
  /** Whether it is because of what they are: others may be taken. */
  readonly isOfThese: boolean;

  constructor(why: string, isOfThese = false) {
    super(why);
    this.isOfThese = isOfThese;
  }
}

/** Brings updates to the server, again and again as long as they may be taken. */
export class Delivery {
  readonly #target: Target;
  readonly #address: URL;
  readonly #onFailure: (why: string, failures: number) => void;
  readonly #abort = new AbortController();
  /** Whether a packed body did not arrive as it was sent: what stands between took it for text. */
  #isPlain = false;
  #token: string | undefined;
  #isTokenNew = true;
  #giveUpAt = Number.POSITIVE_INFINITY;
  #wake = () => {};

  constructor(target: Target, onFailure: (why: string, failures: number) => void) {
    this.#target = target;
    this.#address = new URL('api/updates', target.url);
    this.#onFailure = onFailure;
  }

  /** The one that it sends with, where it is known by now. */
  get token(): string | undefined {
    return typeof this.#target.token === 'string' ? this.#target.token : this.#token;
  }

  /** From now on it hurries: what waits to be tried again is tried now, and given up at that time. */
  giveUpAt(time: number): void {
    this.#giveUpAt = time;
    this.#wake();
  }

  /** Breaks off what is on its way. */
  abort(): void {
    this.giveUpAt(0);
    this.#abort.abort();
  }

  /**
   * Resolves once these updates, each a JSON text, are committed.
   *
   * @throws NotSent where they will not be
   */
  async deliver(updates: readonly string[]): Promise<Receipt> {
    const body = `{"updates":[${updates.join(',')}]}`;
    for (let failures = 1; ; failures++) {
      const answer = await this.#post(body).catch((error: unknown) => `no answer: ${lineOf(error)}`);
      if (typeof answer !== 'string') {
        if (answer.status === 200) {
          this.#isTokenNew = false;
          return receiptOf(answer.body);
        }
        if (answer.status === 413 && updates.length > 1) return await this.#deliverInParts(updates);
        if (FINAL.has(answer.status) && !this.#renewsToken(answer.status)) {
          throw new NotSent(refusalOf(answer), answer.status === 400 || answer.status === 413);
        }
      }
      const [why, retryAfterMs] =
        typeof answer === 'string' ? [answer, undefined] : [refusalOf(answer), answer.retryAfterMs];
      this.#onFailure(why, failures);
      await this.#pause(failures, retryAfterMs ?? 0, why);
    }
  }

  async #post(body: string): Promise<Answer> {
    const { token } = this.#target;
    this.#token ??= typeof token === 'string' ? token : await token();
    const headers: Record<string, string> = { authorization: `Bearer ${this.#token}` };
    if (body.length < PACKED_FROM || this.#isPlain) {
      return await post(this.#address, headers, body, this.#abort.signal);
    }
    headers['content-encoding'] = 'gzip';
    const answer = await post(this.#address, headers, await packed(body, { level: 1 }), this.#abort.signal);
    if (answer.status !== 400) return answer;
    this.#isPlain = true;
    return await this.#post(body);
  }

  /** A token that has run out is fetched anew; one that is refused at once is not. */
  #renewsToken(status: number): boolean {
    if (status !== 401 || typeof this.#target.token === 'string' || this.#isTokenNew) return false;
    this.#token = undefined;
    this.#isTokenNew = true;
    return true;
  }

  async #deliverInParts(updates: readonly string[]): Promise<Receipt> {
    const half = Math.ceil(updates.length / 2);
    const one = await this.deliver(updates.slice(0, half));
    const two = await this.deliver(updates.slice(half));
    return {
      accepted: one.accepted + two.accepted,
      duplicates: one.duplicates + two.duplicates,
      rejected: [...one.rejected, ...two.rejected],
    };
  }

  /** Waits until it is to be tried again: none too early where the server says when. */
  async #pause(failures: number, retryAfterMs: number, why: string): Promise<void> {
    const now = Date.now();
    const growing = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(failures - 1, 10));
    const patient = now + Math.max(retryAfterMs, growing * (0.5 + Math.random() / 2));
    const hurried = now + Math.max(retryAfterMs, HURRIED_DELAY_MS);
    for (;;) {
      const isHurried = Number.isFinite(this.#giveUpAt);
      const until = isHurried ? hurried : patient;
      if (until > this.#giveUpAt || (isHurried && failures > HURRIED_FAILURES)) throw new NotSent(why);
      const ms = until - Date.now();
      if (ms <= 0) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, ms).unref();
      });
    }
  }
}

function receiptOf(body: string): Receipt {
  try {
    const { accepted = 0, duplicates = 0, rejected = [] } = JSON.parse(body) as Partial<Receipt>;
    return { accepted, duplicates, rejected };
  } catch {
    throw new NotSent('what answers is no stack');
  }
}

/** Why a server has refused, in one line: what its problem (RFC 9457) says, or how its answer begins. */
function refusalOf(answer: Answer): string {
  try {
    const { title, detail, message } = JSON.parse(answer.body) as Record<string, string>;
    return lineOf(`${title ?? answer.status}: ${detail ?? message ?? ''}`);
  } catch {
    return lineOf(`${answer.status}: ${answer.body.slice(0, 200)}`);
  }
}
