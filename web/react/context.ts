import { createContext, createElement, type ReactNode, useContext, useEffect, useState } from 'react';
import { type Client, type ClientOptions, createClient } from '../client/index.ts';

const ClientContext = createContext<Client | undefined>(undefined);

export type RuncastProviderProps = { children?: ReactNode } & (
  | { client: Client }
  | ({ client?: undefined } & Pick<ClientOptions, 'url' | 'token' | 'tokenHeader' | 'shareKey' | 'fetch'>)
);

/**
 * Gives a client to the hooks below it: the one that it is given, or one of its own, made of the options of its first
 * rendering (give it a `key` to change them; a function for `token` is asked again when it has to be).
 */
export function RuncastProvider({ children, client, ...options }: RuncastProviderProps): ReactNode {
  const [own] = useState(() => client ?? createClient(options));
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
