/** How long a new one may take, in milliseconds; then it is asked for again. */
const TIMEOUT_MS = 30_000;

/** The caller's token, got once and kept until the server no longer takes it. */
export class Token {
  /** Whether another one can be had. */
  readonly renewable: boolean;
  readonly #source: () => string | undefined | Promise<string>;
  #current: Promise<string | undefined> | undefined;

  constructor(source: string | (() => string | Promise<string>) | undefined) {
    this.renewable = typeof source === 'function';
    this.#source = typeof source === 'function' ? source : () => source;
  }

  /** The token; `undefined` where there is none, and a cookie has to do. */
  get(): Promise<string | undefined> {
    this.#current ??= new Promise<string | undefined>((resolve, reject) => {
      const timer = setTimeout(reject, TIMEOUT_MS);
      const source = (async () => this.#source())();
      source.then(resolve, reject).finally(() => clearTimeout(timer));
    }).catch((error: unknown) => {
      this.#current = undefined;
      throw error;
    });
    return this.#current;
  }

  /** Forgets a token that was refused; one that another stream has got meanwhile is kept. */
  async drop(refused: string | undefined): Promise<void> {
    const current = this.#current;
    if (this.renewable && (await current) === refused && this.#current === current) this.#current = undefined;
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
