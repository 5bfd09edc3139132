import { isTerminal, type JobState, type TestCounts } from 'runcast-client';
import { Panel } from './panel.tsx';
import { done } from './progress.tsx';
import { STATUSES, StatusIcon } from './status.tsx';
import { clock } from './time.ts';

/** What happened to a run. */
export function Timeline({ events }: { events: readonly JobState[] }) {
  return (
    <Panel title="Timeline" count={events.length}>
      <ol
        id="timeline"
        className="card scroller px-4 py-3"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and a keyboard has to reach it
        tabIndex={0}
        aria-label="Events, the last one first"
        reversed
      >
        {[...events].reverse().map((event, index) => {
          const before = events[events.length - 2 - index];
          const isTurn = event.status !== before?.status;
          return (
            <li
              key={event.seq}
              className="event relative grid grid-cols-[auto_minmax(0,1fr)_auto] gap-x-3 pb-3 last:pb-0"
            >
              <span className="z-[1] grid size-5 place-items-center">
                {isTurn || isTerminal(event.status) ? (
                  <span className="bg-surface py-0.5">
                    <StatusIcon status={event.status} />
                  </span>
                ) : (
                  <span className="size-1.5 rounded-full bg-quiet" />
                )}
              </span>
              <span
                className={`min-w-0 text-[13px] leading-5 break-words ${isTurn ? 'font-medium' : 'text-quiet'}`}
              >
                {describe(event, before)}
              </span>
              <time
                className="text-xs leading-5 text-quiet"
                dateTime={event.occurredAt ?? ''}
                title={`seq ${event.seq}`}
              >
                {clock(event.occurredAt, true)}
              </time>
            </li>
          );
        })}
      </ol>
    </Panel>
  );
}

/** What an event changed, in words. */
function describe(state: JobState, before: JobState | undefined): string {
  if (state.seq === 0) return 'not reported yet';
  if (state.status !== before?.status) {
    return [state.status, state.errorDetails].filter(Boolean).join(': ');
  }
  const words = [progress(state, before), tests(state.tests, before.tests)].filter(Boolean);
  return words.join(' · ') || 'updated';
}

function progress({ progress: now }: JobState, { progress: before }: JobState): string {
  if (!now || JSON.stringify(now) === JSON.stringify(before)) return '';
  return now.message ? `${done(now)}, ${now.message}` : done(now);
}

function tests(now: TestCounts | null, before: TestCounts | null): string {
  const changes = STATUSES.filter((status) => (now?.[status] ?? 0) > (before?.[status] ?? 0));
  return changes.map((status) => `${(now?.[status] ?? 0) - (before?.[status] ?? 0)} ${status}`).join(', ');
}
