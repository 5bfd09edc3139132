import { useMemo } from 'react';
import { isTerminal, type JobState, type TestCounts, type TestState } from 'runcast-client';
import { useRunHistory } from 'runcast-client/react';
import { done } from './bar.tsx';
import { ordinal } from './life.tsx';
import { Refused } from './notice.tsx';
import { usePaced } from './paced.ts';
import { Empty, Skeleton } from './panel.tsx';
import { hrefOfTest } from './route.ts';
import { titleOf } from './standing.ts';
import { STATUSES, StatusIcon } from './status.tsx';
import { clock, exact } from './time.ts';
import { VirtualList } from './virtual-list.tsx';

/** From so many events on, they are shown four times in a second. */
const MANY = 300;
const PACE_MS = 250;

interface HistoryProps {
  run: JobState;
  tests: ReadonlyMap<string, TestState>;
  query: URLSearchParams;
}

/** One event of the run, or several in a row that only say that tests went on. */
interface Entry {
  event: JobState;
  /** The event before the first of it. */
  before: JobState | undefined;
  firstSeq: number;
  /** Whether only its tests went on. */
  isOfTests: boolean;
}

/** What happened to a run, from its first event that the log has. */
export function History({ run, tests, query }: HistoryProps) {
  const history = useRunHistory(run.runId);
  const { events, isLoading, error, retry } = usePaced(history, history.events.length > MANY ? PACE_MS : 0);
  const entries = useMemo(() => entriesOf(events).reverse(), [events]);
  const turns = useMemo(() => turnsOf(tests), [tests]);
  if (error && !events.length) return <Refused error={error} retry={retry} />;
  if (isLoading && !events.length) return <Skeleton rows={3} className="h-10" />;
  if (!entries.length) return <Empty>The log has no event of this run any more.</Empty>;
  return (
    <section aria-label="History" className="grid gap-2">
      <p className="text-[13px] text-quiet">
        {events.length.toLocaleString('en')} events, the last one first{isLoading ? '; loading others …' : ''}
      </p>
      <div className="card overflow-hidden px-4 py-3">
        <VirtualList
          id="history"
          label="Events, the last one first"
          items={entries}
          keyOf={keyOf}
          heightOf={heightOf}
        >
          {(entry) => <Event entry={entry} named={namedIn(entry, turns)} query={query} />}
        </VirtualList>
      </div>
    </section>
  );
}

const keyOf = ({ firstSeq }: Entry): string => String(firstSeq);
const heightOf = (): number => 32;

function Event({
  entry,
  named,
  query,
}: {
  entry: Entry;
  named: readonly TestState[];
  query: URLSearchParams;
}) {
  const { event, before, firstSeq, isOfTests } = entry;
  const isTurn = event.status !== before?.status || event.attempt !== before.attempt;
  return (
    <div className="event relative grid grid-cols-[auto_minmax(0,1fr)_auto] gap-x-3 pb-3">
      <span className="z-[1] grid size-5 place-items-center">
        {isTurn ? (
          <span className="bg-surface py-0.5">
            {/* What was running then, does not any more. */}
            <StatusIcon status={event.status} isStill />
          </span>
        ) : (
          <span className="size-1.5 rounded-full bg-quiet" />
        )}
      </span>
      <span className={`min-w-0 text-[13px] leading-5 break-words ${isTurn ? 'font-medium' : 'text-quiet'}`}>
        {describe(event, before)}
        {isOfTests && named.length > 0 && (
          <span>
            {': '}
            {named.map((test, index) => (
              <span key={test.testId}>
                {index > 0 && ', '}
                <a
                  href={hrefOfTest(event.runId, test.testId, query)}
                  className="text-text underline decoration-quiet/50 underline-offset-2 hover:decoration-current"
                >
                  {titleOf(test)}
                </a>
              </span>
            ))}
          </span>
        )}
      </span>
      <time
        className="text-xs leading-5 text-quiet"
        dateTime={event.occurredAt ?? ''}
        data-seq={event.seq}
        title={`seq ${firstSeq === event.seq ? '' : `${firstSeq} to `}${event.seq}${event.occurredAt ? `, ${exact(event.occurredAt)}` : ''}`}
      >
        {clock(event.occurredAt, true)}
      </time>
    </div>
  );
}

function entriesOf(events: readonly JobState[]): Entry[] {
  const entries: Entry[] = [];
  events.forEach((event, index) => {
    const before = events[index - 1];
    const isOfTests = !!before && isOnlyOfTests(event, before);
    const last = entries.at(-1);
    if (isOfTests && last?.isOfTests) last.event = event;
    else entries.push({ event, before, firstSeq: event.seq, isOfTests });
  });
  return entries;
}

/** Whether nothing changed but the counts of its tests. */
function isOnlyOfTests(now: JobState, before: JobState): boolean {
  return !isSame(now.tests, before.tests) && TOLD.every((field) => isSame(now[field], before[field]));
}

/** What an event is told for, where it changes. */
const TOLD = ['status', 'attempt', 'stale', 'progress', 'shards', 'errorDetails', 'artifactPaths'] as const;

const isSame = (one: unknown, other: unknown): boolean =>
  one === other || (!!one && !!other && JSON.stringify(one) === JSON.stringify(other));

/** At most so many tests are named in one entry. */
const MOST_NAMED = 6;

/** When tests began and ended, in that order. */
type Turn = { at: string; test: TestState; isEnd: boolean };

function turnsOf(tests: ReadonlyMap<string, TestState>): Turn[] {
  const turns: Turn[] = [];
  for (const test of tests.values()) {
    const { startedAt, completedAt, status } = test;
    if (startedAt) turns.push({ at: startedAt, test, isEnd: false });
    if (completedAt && isTerminal(status)) turns.push({ at: completedAt, test, isEnd: true });
  }
  return turns.sort((one, other) => (one.at < other.at ? -1 : 1));
}

/** Which tests an entry is about: those that ended meanwhile, or else began; of many, those that went wrong. */
function namedIn({ event, before, isOfTests }: Entry, turns: readonly Turn[]): TestState[] {
  if (!isOfTests || !before?.occurredAt || !event.occurredAt) return [];
  const [from, to] = [before.occurredAt, event.occurredAt];
  const meanwhile = turns.slice(firstAfter(turns, from), firstAfter(turns, to));
  const ended = meanwhile.filter(({ isEnd }) => isEnd);
  const named = (ended.length ? ended : meanwhile).map(({ test }) => test);
  if (named.length <= MOST_NAMED) return named;
  return named.filter(({ status }) => status === 'failed' || status === 'error').slice(0, MOST_NAMED);
}

function firstAfter(turns: readonly Turn[], time: string): number {
  let [low, high] = [0, turns.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((turns[middle] as Turn).at > time) high = middle;
    else low = middle + 1;
  }
  return low;
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
  const change = (status: keyof TestCounts) => (now?.[status] ?? 0) - (before?.[status] ?? 0);
  const more = [...STATUSES, 'flaky' as const].filter((status) => change(status) > 0);
  return more.map((status) => `${change(status)} ${status}`).join(', ');
}
