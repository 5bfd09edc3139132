import { useMemo, useSyncExternalStore } from 'react';

/** What is looked at. In the hash, so that static files need no rewriting and a reload keeps it. */
export type Route =
  | { page: 'project'; projectId: string | undefined }
  | { page: 'run'; runId: string; testId: string | undefined }
  | { page: 'queues'; queue: string | undefined }
  | { page: 'nowhere' };

/** A route, and how it is filtered. */
export interface Place {
  route: Route;
  query: URLSearchParams;
}

const ID = '([\\w-]{1,128})';
const PROJECT = new RegExp(`^/(?:projects/${ID}/?)?$`);
const RUN = new RegExp(`^/runs/${ID}(?:/tests/${ID})?/?$`);
const QUEUES = /^\/queues(?:\/([^/]+))?\/?$/;

export function usePlace(): Place {
  const hash = useSyncExternalStore(subscribe, () => location.hash);
  return useMemo(() => placeOf(hash), [hash]);
}

export function placeOf(hash: string): Place {
  const [path = '', search] = (hash.replace(/^#/, '') || '/').split(/\?(.*)/s);
  return { route: routeOf(path), query: new URLSearchParams(search) };
}

function routeOf(path: string): Route {
  const project = PROJECT.exec(path);
  if (project) return { page: 'project', projectId: project[1] };
  const run = RUN.exec(path);
  if (run?.[1]) return { page: 'run', runId: run[1], testId: run[2] };
  const queues = QUEUES.exec(path);
  if (!queues) return { page: 'nowhere' };
  try {
    return { page: 'queues', queue: queues[1] && decodeURIComponent(queues[1]) };
  } catch {
    return { page: 'nowhere' };
  }
}

export const hrefOfProject = (projectId: string): string => `#/projects/${projectId}`;
export const hrefOfRun = (runId: string): string => `#/runs/${runId}`;
export const hrefOfQueue = (queue: string): string => `#/queues/${encodeURIComponent(queue)}`;

/** A test of a run; what the list is filtered by stays. */
export const hrefOfTest = (runId: string, testId: string | undefined, query: URLSearchParams): string =>
  `#/runs/${runId}${testId ? `/tests/${testId}` : ''}${query.size ? `?${query}` : ''}`;

/** Changes what the page is filtered by, without a step for the back button. */
export function setQuery(changes: Record<string, string | undefined>): void {
  const [path = '', search] = (location.hash || '#/').split(/\?(.*)/s);
  const query = new URLSearchParams(search);
  for (const [name, value] of Object.entries(changes)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const hash = query.size ? `${path}?${query}` : path;
  if (hash === location.hash) return;
  history.replaceState(history.state, '', hash);
  for (const listener of listeners) listener();
}

const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  addEventListener('hashchange', listener);
  return () => {
    listeners.delete(listener);
    removeEventListener('hashchange', listener);
  };
}
