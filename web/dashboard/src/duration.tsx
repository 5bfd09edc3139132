import { isTerminal, type JobState, type TestState } from 'runcast-client';
import { useNow, words } from './time.ts';

/** How long it took, or takes by now. */
export function Duration({ state }: { state: JobState | TestState }) {
  const isLive = !isTerminal(state.status) && state.startedAt;
  return (
    <span className="text-[13px] whitespace-nowrap text-quiet">
      {isLive ? <Ticking since={state.startedAt as string} /> : state.duration}
    </span>
  );
}

function Ticking({ since }: { since: string }) {
  return words(useNow() - Date.parse(since));
}
