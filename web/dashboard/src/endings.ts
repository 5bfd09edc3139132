import { useCallback, useEffect } from 'react';
import type { JobState } from 'runcast-client';
import { toast } from 'sonner';
import { notify } from './notify.tsx';
import { hrefOfRun, placeOf } from './route.ts';

/** How long a toast of what went well stays, in milliseconds. */
const STAYS_MS = 5_000;

/** Within this time the page shows what it knows, in milliseconds. */
const DRAWN_MS = 300;

/** Tells by a toast that a run has ended, unless the page shows it: failures stay, what went well goes. */
export function useEndings(): (run: JobState) => void {
  return useCallback((run: JobState) => {
    notify(run);
    setTimeout(() => tell(run), DRAWN_MS);
  }, []);
}

function tell({ runId, name, status, duration, errorDetails }: JobState): void {
  if (isShown(runId)) return;
  const title = name ?? runId;
  const description = [`${status}${duration ? ` after ${duration}` : ''}`, errorDetails]
    .filter(Boolean)
    .join(': ');
  const action = { label: 'Look', onClick: () => location.assign(hrefOfRun(runId)) };
  const options = { id: runId, description, action };
  const brief = { ...options, duration: STAYS_MS };
  if (status === 'passed' || status === 'completed') toast.success(title, brief);
  else if (status === 'cancelled' || status === 'skipped') toast.info(title, brief);
  else toast.error(title, { ...options, duration: Number.POSITIVE_INFINITY });
}

/** Whether who looks at the page sees the run on it. */
function isShown(runId: string): boolean {
  if (document.visibilityState === 'hidden') return false;
  const { route } = placeOf(location.hash);
  if (route.page === 'run') return route.runId === runId;
  const row = document.querySelector(`[data-run="${runId}"]`)?.getBoundingClientRect();
  return !!row && row.bottom > 0 && row.top < innerHeight;
}

/** What is opened need not be told of any more. */
export function useDismissal(runId: string | undefined): void {
  useEffect(() => {
    if (runId) toast.dismiss(runId);
  }, [runId]);
}
