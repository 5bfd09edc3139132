import { ExternalLink, Hourglass, Shuffle } from 'lucide-react';
import { isTerminal, type JobState, type TestState } from 'runcast-client';
import { ErrorText } from './error-text.tsx';
import { PLACES } from './lanes.ts';
import { placeOf, setQuery } from './route.ts';
import { StatusLabel } from './status.tsx';
import { took, useNow, words } from './time.ts';

type Execution = JobState | TestState;

/** How the text begins with which the worker ends what nothing was heard of. */
const GIVEN_UP = 'nothing was heard of it for';

interface MarksProps {
  state: Execution;
  withLabels?: boolean;
  /** Those of what it is part of, which are said there. */
  known?: LabelsOf | undefined;
}

type LabelsOf = Execution['labels'];

/** What there is to say of an execution's life, beside its status; nothing where it was an ordinary one. */
export function Marks({ state, withLabels = true, known }: MarksProps) {
  const error = state.kind === 'job' ? state.errorDetails : state.error;
  const isGivenUp = state.status === 'error' && error?.startsWith(GIVEN_UP);
  const shards = state.kind === 'job' ? state.shards : null;
  return (
    <>
      {state.attempt > 1 && <span className="mark">{ordinal(state.attempt)} attempt</span>}
      {state.flaky && <Flaky />}
      {state.stale && !isTerminal(state.status) && <Silence since={state.occurredAt} />}
      {isGivenUp && (
        <span className="mark tint hue" data-status="error">
          given up
        </span>
      )}
      {shards && (
        <span className="mark">
          {shards.ended} of {shards.total} shards ended
        </span>
      )}
      {withLabels && <Labels state={state} known={known} />}
    </>
  );
}

/** What it is labelled with; each leads to all that have the same. In a list, where it ran is no news. */
export function Labels({ state, known }: { state: Execution; known?: LabelsOf | undefined }) {
  const isNews = ([key, value]: [string, string]) => !PLACES.includes(key) && known?.[key] !== value;
  const labels = Object.entries(state.labels ?? {});
  const told = known === undefined ? labels : labels.filter(isNews);
  return told.map(([key, value]) => (
    <button
      key={key}
      type="button"
      className="mark relative z-[1] max-w-full cursor-pointer truncate hover:underline"
      title={`Search for ${key} ${value}`}
      onClick={() => searchFor(value, state)}
    >
      <span className="text-quiet">{key}</span> {value}
    </button>
  ));
}

/** A run's labels are searched for among runs, a test's among the tests of its run. */
function searchFor(label: string, state: Execution): void {
  const { route } = placeOf(location.hash);
  const isOnItsList = state.kind === 'test' || route.page === 'project';
  if (isOnItsList) setQuery({ q: label });
  else location.hash = `#/?q=${encodeURIComponent(label)}`;
}

function Flaky() {
  return (
    <span
      className="mark tint hue inline-flex items-center gap-1"
      data-status="flaky"
      title="It passed, after an attempt that failed"
    >
      <Shuffle size={12} aria-hidden /> flaky
    </span>
  );
}

function Silence({ since }: { since: string | null }) {
  const now = useNow();
  return (
    <span className="mark tint hue inline-flex items-center gap-1" data-status="error">
      <Hourglass size={12} aria-hidden />
      {since ? `nothing heard for ${silence(now - Date.parse(since))}` : 'nothing heard'}
    </span>
  );
}

/** Minutes will do, once there are any. */
function silence(milliseconds: number): string {
  const minutes = Math.floor(milliseconds / 60_000);
  if (minutes < 1) return words(milliseconds);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** How the attempts before this one ended, where there were any. */
export function Attempts({ state, isOpen = false }: { state: Execution; isOpen?: boolean }) {
  if (!state.attempts.length) return null;
  return (
    <details className="text-[13px]" open={isOpen}>
      <summary className="cursor-pointer text-quiet">
        {state.attempts.length === 1 ? 'The attempt before' : `${state.attempts.length} attempts before`}
      </summary>
      <ol className="mt-2 grid gap-2.5 border-l-2 border-line pl-3">
        {state.attempts.map(({ attempt, status, durationMs, error }) => (
          <li key={attempt} className="grid min-w-0 gap-1">
            <span className="flex gap-3">
              <span className="text-quiet">{ordinal(attempt)}</span>
              <StatusLabel status={status} />
              {durationMs !== null && <span className="text-quiet">{took(durationMs)}</span>}
            </span>
            {error && <ErrorText text={error} />}
          </li>
        ))}
      </ol>
    </details>
  );
}

/** Where it ran. Only what is a link on the web is one here: whoever sends updates chooses it. */
export function RanAt({ url, isShort = false }: { url: string | null; isShort?: boolean }) {
  if (!url || !/^https?:\/\//i.test(url)) return null;
  const text = url.replace(/^https?:\/\//i, '');
  return (
    <a
      href={url}
      target="_blank"
      rel="noopener noreferrer"
      title={url}
      className="link relative z-[1] inline-flex max-w-full min-w-0 items-center gap-1"
    >
      <span className="truncate">{isShort ? text.split('/')[0] : text}</span>
      <ExternalLink size={12} aria-hidden className="shrink-0" />
    </a>
  );
}

/** 1st, 2nd, 3rd, 4th … */
export function ordinal(count: number): string {
  const endings: Record<string, string> = { one: 'st', two: 'nd', few: 'rd' };
  return `${count}${endings[new Intl.PluralRules('en', { type: 'ordinal' }).select(count)] ?? 'th'}`;
}
