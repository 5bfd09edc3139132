/** What a deployment tells the page, in `config.json` beside it. */
export interface Settings {
  /** Where the functions are; the page's own origin where empty. */
  apiUrl: string;
  organizationId: string;
  /** The project that is shown first. */
  projectId: string;
  /** Others that can be chosen; any can be typed. */
  projects?: string[] | undefined;
  /**
   * What is POSTed to, with the cookies, for a new token: it answers with one (as text, or `{"token"}`), or with none where
   * it has set the cookie `runcast_token` anew.
   */
  tokenUrl?: string | undefined;
  /** Where people sign in. */
  signInUrl?: string | undefined;
  /** What relative paths of artifacts and reports are relative to; the page's own address where empty. */
  artifactsUrl?: string | undefined;
  /** Only of the stack on one machine: it gives tokens, plays scenes, and breaks what it started itself. */
  local: { redis: boolean; postgres: boolean } | null;
}

/** Reads the settings. */
export async function loadSettings(): Promise<Settings> {
  const response = await fetch('./config.json');
  if (!response.ok) throw new Error(`config.json: status ${response.status}`);
  return response.json();
}

/** Presses a button of the local stack. */
export async function post(path: string, body?: object): Promise<Record<string, unknown>> {
  const response = await fetch(path, {
    method: 'POST',
    ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.detail ?? `The stack answered ${response.status}.`);
  return answer;
}
