import { createContext, createElement, type ReactNode, useContext, useEffect, useMemo, useRef } from 'react';
import { type Client, type ClientOptions, createClient } from '../client/index.ts';

const ClientContext = createContext<Client | undefined>(undefined);

export type RuncastProviderProps = { children?: ReactNode } & (
  | { client: Client }
  | ({ client?: undefined } & Pick<ClientOptions, 'url' | 'token' | 'tokenHeader' | 'shareKey' | 'fetch'>)
);

/**
 * Gives a client to the hooks below it: the one that it is given, or one of its own. Of that, another `token` or `fetch` is
 * used from the next connection on; with another `url`, `tokenHeader` or `shareKey` there is another client, and all is
 * watched anew.
 */
export function RuncastProvider({ children, client, ...options }: RuncastProviderProps): ReactNode {
  const { url, token, tokenHeader, shareKey, fetch } = options as ClientOptions;
  const latest = useRef(fetch);
  const isOwn = !!fetch;
  // biome-ignore lint/correctness/useExhaustiveDependencies: the client is told of another token, below.
  const own = useMemo(() => {
    const given = { url, token, tokenHeader, shareKey } as ClientOptions;
    const own: typeof globalThis.fetch = (...request) => (latest.current ?? globalThis.fetch)(...request);
    return createClient(isOwn ? { ...given, fetch: own } : given);
  }, [url, tokenHeader, shareKey, isOwn]);
  useEffect(() => {
    latest.current = fetch;
    own.setToken(token);
  }, [own, token, fetch]);
  // What is not watched is closed by itself, so that there is nothing to clean up but the last moment's streams.
  useEffect(() => (client ? undefined : () => own.close()), [client, own]);
  return createElement(ClientContext.Provider, { value: client ?? own }, children);
}

/** The client of the provider above. */
export function useRuncast(): Client {
  const client = useContext(ClientContext);
  if (!client) throw new Error('There is no <RuncastProvider> above.');
  return client;
}
