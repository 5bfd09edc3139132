import { isTerminal, type JobState, type TestCounts } from 'runcast-client';
import { ordinal } from './life.tsx';
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
          const isTurn = event.status !== before?.status || event.attempt !== before.attempt;
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
  const said = [state.status, state.errorDetails].filter(Boolean).join(': ');
  if (state.attempt > (before?.attempt ?? 1)) return `${ordinal(state.attempt)} attempt: ${said}`;
  if (state.status !== before?.status) return said;
  const words = [
    silence(state, before),
    progress(state, before),
    tests(state.tests, before.tests),
    shards(state, before),
    (state.artifactPaths?.length ?? 0) > (before.artifactPaths?.length ?? 0) && 'artifacts came',
  ].filter(Boolean);
  return words.join(' · ') || 'updated';
}

function silence({ stale: now }: JobState, { stale: before }: JobState): string {
  if (now === before) return '';
  return now ? 'nothing is heard of it' : 'it is heard of again';
}

function shards({ shards: now }: JobState, { shards: before }: JobState): string {
  return now && now.ended !== before?.ended ? `${now.ended} of ${now.total} shards ended` : '';
}

function progress({ progress: now }: JobState, { progress: before }: JobState): string {
  if (!now || JSON.stringify(now) === JSON.stringify(before)) return '';
  return now.message ? `${done(now)}, ${now.message}` : done(now);
}

function tests(now: TestCounts | null, before: TestCounts | null): string {
  const changes = STATUSES.filter((status) => (now?.[status] ?? 0) > (before?.[status] ?? 0));
  const flaky = (now?.flaky ?? 0) - (before?.flaky ?? 0);
  return [
    ...changes.map((status) => `${(now?.[status] ?? 0) - (before?.[status] ?? 0)} ${status}`),
    ...(flaky > 0 ? [`${flaky} flaky`] : []),
  ].join(', ');
}
