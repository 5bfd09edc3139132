/** What a deployment tells the page, in `config.json` beside it. */
export interface Settings {
  /** Where the functions are; the page's own origin where empty. */
  apiUrl: string;
  organizationId: string;
  projectId: string;
  /** Only of the stack on one machine: it gives tokens, plays scenes, and breaks what it started itself. */
  local: { redis: boolean; postgres: boolean } | null;
}

/** Reads the settings. */
export async function loadSettings(): Promise<Settings> {
  const response = await fetch('./config.json');
  if (!response.ok) throw new Error(`config.json: status ${response.status}`);
  return response.json();
}

/** A token of the local stack. Deployed, the cookie `runcast_token` serves, which no script has to read. */
export async function localToken(organizationId: string, ttlSeconds: number): Promise<string> {
  const { token } = await post('/_local/token', { org: organizationId, ttlSeconds });
  return token as string;
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
