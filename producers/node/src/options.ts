import { post } from './http.ts';
import { lineOf } from './text.ts';

/** Where updates go, and for whom. */
export interface ReporterOptions {
  /** The stack's address; `RUNCAST_URL` where absent. */
  url?: string | undefined;
  /** A token whose scope holds `status:write`, or what fetches one; `RUNCAST_TOKEN` where absent. */
  token?: string | (() => string | Promise<string>) | undefined;
  /** Where in the organization; `RUNCAST_PROJECT`, and else the token's one project. */
  project?: string | undefined;
  /** `false`: nothing is sent, and nothing said. */
  enabled?: boolean | undefined;
  /** How long `close()` waits for the server, in milliseconds: 1,500. */
  closeTimeoutMs?: number | undefined;
  /** Where what could not be sent is kept: `RUNCAST_SPOOL`, and else `.runcast`. */
  spool?: string | undefined;
}

/** What is known of where to send to. */
export interface Target {
  url: URL;
  token: string | (() => string | Promise<string>);
  project: string | undefined;
}

/** The target that options and environment say, or why there is none. */
export function targetOf(options: ReporterOptions): Target | { why: string } {
  const { RUNCAST_URL, RUNCAST_TOKEN, RUNCAST_PROJECT } = process.env;
  const address = options.url || RUNCAST_URL;
  const token = options.token || RUNCAST_TOKEN;
  const project = options.project || RUNCAST_PROJECT;
  if (!address) return { why: 'nothing is reported: set RUNCAST_URL and RUNCAST_TOKEN' };
  let url: URL;
  try {
    url = new URL(address.endsWith('/') ? address : `${address}/`);
    if (!/^https?:$/.test(url.protocol)) throw new Error('not http');
  } catch {
    return { why: `nothing is reported: RUNCAST_URL is no address: ${lineOf(address)}` };
  }
  if (token) return { url, token, project };
  if (/^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname)) {
    return { url, token: () => localToken(url, project), project };
  }
  return { why: 'nothing is reported: set RUNCAST_TOKEN' };
}

/** A token of the stack on this machine, as `runcast run` gets one. */
async function localToken(url: URL, project = 'demo'): Promise<string> {
  const request = { org: 'demo', projects: [project], ttlSeconds: 86_400, scope: ['status:write'] };
  const answer = await post(new URL('_local/token', url), {}, JSON.stringify(request));
  if (answer.status !== 200) throw new Error(`no token: ${answer.status}`);
  return (JSON.parse(answer.body) as { token: string }).token;
}
