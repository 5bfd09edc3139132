import { useSyncExternalStore } from 'react';

/** What is looked at. In the hash, so that static files need no rewriting and a reload keeps it. */
export type Route = { page: 'overview' } | { page: 'run'; runId: string };

export function useRoute(): Route {
  const hash = useSyncExternalStore(subscribe, () => location.hash);
  const runId = /^#\/runs\/([\w-]{1,128})$/.exec(hash)?.[1];
  return runId ? { page: 'run', runId } : { page: 'overview' };
}

export const hrefOfRun = (runId: string): string => `#/runs/${runId}`;

function subscribe(listener: () => void): () => void {
  addEventListener('hashchange', listener);
  return () => removeEventListener('hashchange', listener);
}
