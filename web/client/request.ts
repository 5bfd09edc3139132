import { Hopeless, type Refusal, textOf } from './error.ts';
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

/** Whether it can be fetched at all: a page has an address of its own that a path is relative to. */
function isAddress(address: string, isOwn: boolean): boolean {
  try {
    const base = globalThis.document?.baseURI ?? globalThis.location?.href;
    return new URL(address, isOwn ? 'http://localhost' : base).protocol.startsWith('http');
  } catch {
    return false;
  }
}
