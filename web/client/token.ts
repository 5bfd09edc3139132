import { Hopeless, textOf } from './error.ts';

/** How often in a row it may not be had: after up to two minutes, it is not the network. */
const MAX_FAILURES = 8;
/** How long a new one may take, in milliseconds; then it is asked for again. */
const TIMEOUT_MS = 30_000;

export type TokenSource = string | (() => string | undefined | Promise<string | undefined>) | undefined;

/** The caller's token, got once and kept until the server no longer takes it. */
export interface Token {
  /** From now on it comes from there. One that a function gave is kept for as long as the server takes it. */
  set(source: TokenSource): void;
  /** The token; `undefined` where there is none, and a cookie has to do. */
  get(): Promise<string | undefined>;
  /** Forgets a token that was refused, unless another stream has got one meanwhile; returns whether another can be had. */
  drop(refused: string | undefined): Promise<boolean>;
}

export function createToken(source: TokenSource): Token {
  let current: Promise<string | undefined> | undefined;
  let failures = 0;

  const renew = async () => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    // What throws at once must find it where it is kept.
    await null;
    try {
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(reject, TIMEOUT_MS, 'Nothing came for 30 s.');
      });
      const got = await Promise.race([typeof source === 'function' ? source() : source, late]);
      failures = 0;
      return got;
    } catch (error) {
      current = undefined;
      throw new (++failures < MAX_FAILURES ? Error : Hopeless)(`No token: ${textOf(error)}`);
    } finally {
      clearTimeout(timer);
    }
  };

  return {
    set(next: TokenSource) {
      if (next !== source && typeof next !== 'function') current = undefined;
      source = next;
      failures = 0;
    },
    get() {
      current ??= renew();
      return current;
    },
    async drop(refused: string | undefined) {
      const isRenewable = typeof source === 'function';
      const before = current;
      if (isRenewable && (await before?.catch(() => {})) === refused && current === before)
        current = undefined;
      return isRenewable;
    },
  };
}

/** Whose token it is, and what it covers; `undefined` where it is no JWT. The signature is the server's to check. */
export function subjectOf(token: string | undefined): string | undefined {
  try {
    const payload = token?.split('.')[1] ?? '';
    // As bytes, which is as good a name as the text that they are in UTF-8.
    const { org, sub, projects } = JSON.parse(atob(payload.replace(/-/g, '+').replace(/_/g, '/')));
    return org && sub && JSON.stringify([org, sub, projects]);
  } catch {
    return undefined;
  }
}
