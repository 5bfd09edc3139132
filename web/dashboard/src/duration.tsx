import { isTerminal, type JobState, type TestState } from 'runcast-client';
import { took, useNow, words } from './time.ts';

/** How long it took, or takes by now; and how long it took earlier, where that is known. */
export function Duration({
  state,
  expectedMs,
}: {
  state: JobState | TestState;
  expectedMs?: number | undefined;
}) {
  const isLive = !isTerminal(state.status) && state.startedAt;
  const told = state.durationMs === null ? state.duration : took(state.durationMs);
  return (
    <span className="whitespace-nowrap">
      {isLive ? <Ticking since={state.startedAt as string} /> : told}
      {isLive && expectedMs !== undefined && (
        <span className="text-quiet" title="The median of earlier runs of this job">
          {' '}
          of ~{words(expectedMs)}
        </span>
      )}
    </span>
  );
}

function Ticking({ since }: { since: string }) {
  return words(useNow() - Date.parse(since));
}
