import { createContext, useContext } from 'react';
import { type Client, createClient } from 'runcast-client';
import { post, type Settings } from './settings.ts';

/** How long a token of the local stack lives. */
const TOKEN_SECONDS = 300;
/** How many latencies are kept. */
const MEASURED = 60;

/** Who looks, and by what client. */
export class Session {
  readonly settings: Settings;
  readonly client: Client;
  /** How often the token was renewed. */
  renewals = -1;
  /** How old the last events were when they came, in milliseconds. */
  readonly latencies: number[] = [];
  readonly #listeners = new Set<() => void>();
  #ttlSeconds = TOKEN_SECONDS;
  #renewed: (() => void) | undefined;
  /** Any of the tabs may hold the streams: what is asked of one, all of them do. */
  readonly #tabs: BroadcastChannel | undefined;

  constructor(settings: Settings) {
    this.settings = settings;
    const { apiUrl, organizationId, projectId } = settings;
    this.client = createClient({
      url: apiUrl,
      shareKey: `${organizationId}/${projectId}`,
      ...(this.#token && { token: this.#token }),
    });
    const { connection } = this.client;
    connection.subscribe(() => {
      const { latencyMs } = connection.snapshot;
      if (latencyMs === null || latencyMs === this.latencies.at(-1)) return;
      this.latencies.push(latencyMs);
      if (this.latencies.length > MEASURED) this.latencies.shift();
    });
    if (!settings.local) return;
    this.#tabs = new BroadcastChannel('runcast-demo');
    this.#tabs.onmessage = ({ data }: MessageEvent<number>) => this.#begin(data);
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly renewalsNow = (): number => Math.max(0, this.renewals);

  /** Goes on with a token that lives only so long; resolves when an ordinary one has followed it, in this tab. */
  expire(ttlSeconds: number): Promise<void> {
    this.#tabs?.postMessage(ttlSeconds);
    this.#begin(ttlSeconds);
    return new Promise((renewed) => {
      this.#renewed = renewed;
    });
  }

  #begin(ttlSeconds: number): void {
    this.#ttlSeconds = ttlSeconds;
    // The one that it has is forgotten, and the streams are opened again, as when the page comes back from the cache.
    this.client.setToken(undefined);
    this.client.setToken(this.#token);
    dispatchEvent(new PageTransitionEvent('pagehide'));
    dispatchEvent(new PageTransitionEvent('pageshow'));
  }

  /** Where the cookie `runcast_token` serves, and nothing renews it, there is none. */
  get #token(): (() => Promise<string | undefined>) | undefined {
    if (this.settings.local) return this.#localToken;
    return this.settings.tokenUrl ? this.#fetchedToken : undefined;
  }

  readonly #localToken = async (): Promise<string> => {
    const ttlSeconds = this.#ttlSeconds;
    this.#ttlSeconds = TOKEN_SECONDS;
    const { token } = await post('/_local/token', { org: this.settings.organizationId, ttlSeconds });
    this.#tell();
    if (ttlSeconds === TOKEN_SECONDS) this.#renewed?.();
    return token as string;
  };

  readonly #fetchedToken = async (): Promise<string | undefined> => {
    const response = await fetch(this.settings.tokenUrl as string, {
      method: 'POST',
      credentials: 'include',
    });
    if (!response.ok) throw new Error(`No token came: the status is ${response.status}.`);
    const text = (await response.text()).trim();
    this.#tell();
    return text.startsWith('{') ? JSON.parse(text).token : text || undefined;
  };

  #tell(): void {
    this.renewals += 1;
    for (const listener of this.#listeners) listener();
  }
}

const SessionContext = createContext<Session | undefined>(undefined);

export const SessionProvider = SessionContext.Provider;

export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error('There is no session above.');
  return session;
}
