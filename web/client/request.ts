import type { Problem } from './schema.ts';
import type { Token } from './token.ts';

/** What all requests of a client have in common. */
export interface RequestSettings {
  url: string;
  token: Token;
  tokenHeader: string;
  /** The caller's, in place of the browser's. */
  fetch: typeof fetch | undefined;
}

/** What a `RuncastError` is made of, as it goes from tab to tab. */
export interface Refusal {
  /** The HTTP status, such as 404; 0 where there was no answer. */
  status: number;
  message: string;
  /** What the server said (RFC 9457), where it said anything. */
  problem?: Problem | undefined;
}

/** Something that cannot work, whoever is asked, and however often. */
export class Hopeless extends Error {}

/** Whether the same request may be served later: RFC 9110 says so of 408, 429 and 5xx. */
export const isTemporary = (status: number): boolean => status === 408 || status === 429 || status >= 500;

/**
 * Asks the server, and once more with a new token where the first one is refused. `begin` is called before each try, for
 * its signal. Returns the answer, whatever it is, and the token that was sent.
 */
export async function ask(
  { url, token, tokenHeader, fetch }: RequestSettings,
  path: string,
  headers: Record<string, string>,
  cache: RequestCache,
  begin: () => AbortSignal | null,
): Promise<[response: Response, token: string | undefined]> {
  const address = url + path;
  if (!isAddress(address, !!fetch)) throw new Hopeless(`Not an address: ${address}`);
  for (let isRenewed = false; ; isRenewed = true) {
    const sent = await token.get();
    const signal = begin();
    if (sent) headers[tokenHeader] = (tokenHeader === 'authorization' ? 'Bearer ' : '') + sent;
    const credentials = sent ? 'same-origin' : 'include';
    const response = await (fetch ?? globalThis.fetch)(address, {
      headers,
      cache,
      credentials,
      signal,
    }).catch((error) => {
      throw signal?.aborted ? error : new Error(`No answer: ${textOf(error)}`);
    });
    if (response.status !== 401 || isRenewed || !(await token.drop(sent))) return [response, sent];
    await response.body?.cancel();
  }
}

/** What an answer says that is not what was asked for. */
export async function refusalOf(response: Response): Promise<Refusal> {
  const { status, headers } = response;
  const type = headers.get('content-type') ?? 'nothing';
  const problem: Problem | undefined = type.includes('json')
    ? await response.json().catch(() => {})
    : undefined;
  return { status, message: problem?.detail ?? `The server answered ${status} with ${type}.`, problem };
}

/** What went wrong before there was an answer. */
export const failureOf = (error: unknown): Refusal => ({ status: 0, message: textOf(error) });

/** What an error says. */
export function textOf(error: unknown): string {
  // Node says "fetch failed", and why in the cause.
  const { message, cause } = (error ?? {}) as { message?: string; cause?: { message?: string } };
  return cause?.message || message || `${error}`;
}

/** Whether it can be fetched at all: a page has an address of its own that a path is relative to. */
function isAddress(address: string, isOwn: boolean): boolean {
  try {
    const base = globalThis.document?.baseURI ?? globalThis.location?.href;
    return new URL(address, isOwn ? 'http://localhost' : base).protocol.startsWith('http');
  } catch {
    return false;
  }
}
