/** How long a new one may take, in milliseconds; then it is asked for again. */
const TIMEOUT_MS = 30_000;

export type TokenSource = string | (() => string | undefined | Promise<string | undefined>) | undefined;

/** The caller's token, got once and kept until the server no longer takes it. */
export class Token {
  /** How often in a row it could not be had. */
  failures = 0;
  #source: TokenSource;
  #current: Promise<string | undefined> | undefined;

  constructor(source: TokenSource) {
    this.#source = source;
  }

  /** Whether another one can be had. */
  get renewable(): boolean {
    return typeof this.#source === 'function';
  }

  /** From now on it comes from there. One that a function gave is kept for as long as the server takes it. */
  set(source: TokenSource): void {
    if (source !== this.#source && typeof source !== 'function') this.#current = undefined;
    this.#source = source;
    this.failures = 0;
  }

  /** The token; `undefined` where there is none, and a cookie has to do. */
  get(): Promise<string | undefined> {
    const source = this.#source;
    this.#current ??= new Promise<string | undefined>((resolve, reject) => {
      const timer = setTimeout(() => reject('none came for 30 s.'), TIMEOUT_MS);
      const got = (async () => (typeof source === 'function' ? source() : source))();
      got.then(resolve, reject).finally(() => clearTimeout(timer));
    }).then(
      (token) => {
        this.failures = 0;
        return token;
      },
      (error: unknown) => {
        this.#current = undefined;
        this.failures += 1;
        throw error;
      },
    );
    return this.#current;
  }

  /** Forgets a token that was refused; one that another stream has got meanwhile is kept. */
  async drop(refused: string | undefined): Promise<void> {
    const current = this.#current;
    const isSame = this.renewable && (await current?.catch(() => {})) === refused;
    if (isSame && this.#current === current) this.#current = undefined;
  }
}

/** Whose token it is, and what it covers; `undefined` where it is no JWT. The signature is the server's to check. */
export function subjectOf(token: string | undefined): string | undefined {
  try {
    const payload = token?.split('.')[1] ?? '';
    const bytes = atob(payload.replace(/-/g, '+').replace(/_/g, '/'));
    // RFC 7519: the claims are UTF-8.
    const text = new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0)));
    const { org, sub, projects } = JSON.parse(text);
    return org && sub && JSON.stringify([org, sub, projects]);
  } catch {
    return undefined;
  }
}
