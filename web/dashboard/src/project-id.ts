import { useEffect, useSyncExternalStore } from 'react';
import { placeOf, type Route } from './route.ts';
import type { Settings } from './settings.ts';

const KEY = 'runcast-project';
/** For a test or a private window that stores nothing. */
let chosen: string | undefined;

/** The project that is looked at, or was last: a run does not say which one it is of. */
export function useProjectId(route: Route, { projectId, organizationId }: Settings): string {
  const key = `${KEY} ${organizationId}`;
  const named = route.page === 'project' ? route.projectId : undefined;
  const last = useSyncExternalStore(
    () => () => {},
    () => chosen ?? stored(key),
  );
  useEffect(() => {
    if (!named) return;
    chosen = named;
    try {
      sessionStorage.setItem(key, named);
    } catch {
      // Then it lasts as long as the page.
    }
  }, [key, named]);
  return named ?? last ?? projectId;
}

function stored(key: string): string | undefined {
  try {
    const { route } = placeOf(`#/projects/${sessionStorage.getItem(key) ?? ''}`);
    return route.page === 'project' ? route.projectId : undefined;
  } catch {
    return undefined;
  }
}
