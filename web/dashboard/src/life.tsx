import { ExternalLink, Hourglass, Shuffle } from 'lucide-react';
import type { ReactNode } from 'react';
import { isTerminal, type JobState, type TestState } from 'runcast-client';
import { hrefOfRun } from './route.ts';
import { StatusLabel } from './status.tsx';
import { took, useNow, words } from './time.ts';

type Execution = JobState | TestState;

/** How the text begins with which the worker ends what nothing was heard of. */
const GIVEN_UP = 'nothing was heard of it for';

/** What there is to say of an execution's life, beside its status; nothing where it was an ordinary one. */
export function Marks({ state, children }: { state: Execution; children?: ReactNode }) {
  const error = state.kind === 'job' ? state.errorDetails : state.error;
  const isGivenUp = state.status === 'error' && error?.startsWith(GIVEN_UP);
  const shards = state.kind === 'job' ? state.shards : null;
  const labels = Object.entries(state.labels ?? {});
  const isPlain = state.attempt === 1 && !state.flaky && !state.stale && !isGivenUp && !shards;
  if (isPlain && !labels.length && !children) return null;
  return (
    <div className="flex flex-wrap items-center gap-1.5 text-xs">
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
      {labels.map(([key, value]) => (
        <span key={key} className="mark max-w-full truncate" title={`${key}: ${value}`}>
          <span className="text-quiet">{key}</span> {value}
        </span>
      ))}
      {children}
    </div>
  );
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
    <span className="mark inline-flex items-center gap-1">
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
export function Attempts({ state }: { state: Execution }) {
  if (!state.attempts.length) return null;
  return (
    <details className="text-[13px]">
      <summary className="cursor-pointer text-quiet">
        {state.attempts.length === 1 ? 'The attempt before' : `${state.attempts.length} attempts before`}
      </summary>
      <ol className="mt-1.5 grid gap-1.5">
        {state.attempts.map(({ attempt, status, durationMs, error }) => (
          <li key={attempt} className="grid gap-x-3 sm:grid-cols-[auto_auto_minmax(0,1fr)]">
            <span className="flex gap-3">
              <span className="text-quiet">{ordinal(attempt)}</span>
              <StatusLabel status={status} />
              {durationMs !== null && <span className="text-quiet">{took(durationMs)}</span>}
            </span>
            {error && <span className="min-w-0 break-words text-quiet sm:col-span-full">{error}</span>}
          </li>
        ))}
      </ol>
    </details>
  );
}

/** Where it ran. Only what is a link on the web is one here: whoever sends updates chooses it. */
export function RanAt({ url }: { url: string | null }) {
  if (!url || !/^https?:\/\//i.test(url)) return null;
  return (
    <a
      href={url}
      target="_blank"
      rel="noopener noreferrer"
      title={url}
      className="inline-flex max-w-full min-w-0 items-center gap-1 text-accent hover:underline"
    >
      <span className="truncate">{url.replace(/^https?:\/\//i, '')}</span>
      <ExternalLink size={12} aria-hidden className="shrink-0" />
    </a>
  );
}

/** The run that this one repeats. */
export function RerunOf({ runId }: { runId: string }) {
  return (
    <a href={hrefOfRun(runId)} className="text-accent hover:underline">
      {runId}
    </a>
  );
}

/** 1st, 2nd, 3rd, 4th … */
export function ordinal(count: number): string {
  const endings: Record<string, string> = { one: 'st', two: 'nd', few: 'rd' };
  return `${count}${endings[new Intl.PluralRules('en', { type: 'ordinal' }).select(count)] ?? 'th'}`;
}
