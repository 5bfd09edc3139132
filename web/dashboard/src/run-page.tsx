import { ArrowLeft } from 'lucide-react';
import { type ReactNode, useEffect, useState } from 'react';
import type { JobState, RuncastError } from 'runcast-client';
import { Duration } from './duration.tsx';
import { Attempts, Marks, RanAt, RerunOf } from './life.tsx';
import type { Live, Snapshot } from './live.ts';
import { Empty, Skeleton } from './panel.tsx';
import { RunProgress } from './progress.tsx';
import { StatusLabel } from './status.tsx';
import { Tests } from './tests.tsx';
import { clock } from './time.ts';
import { Timeline } from './timeline.tsx';

/** One run: how it stands, its tests, and every event of it. */
export function RunPage({ runId, live, snapshot }: { runId: string; live: Live; snapshot: Snapshot }) {
  const { events, error } = useHistory(live, runId);
  const run = events.at(-1);
  return (
    <>
      <section aria-labelledby="run" className="grid grid-cols-1 gap-4">
        <a
          href="#/"
          className="inline-flex items-center gap-1.5 justify-self-start text-[13px] text-quiet hover:text-text"
        >
          <ArrowLeft size={14} aria-hidden /> All runs
        </a>
        <div className="flex flex-wrap items-baseline gap-x-4 gap-y-1">
          <h2 id="run" className="min-w-0 text-2xl font-semibold tracking-tight break-words">
            {run?.name ?? runId}
          </h2>
          {run && <StatusLabel status={run.status} />}
          {run && <Duration state={run} />}
        </div>
        {run && run.seq > 0 && <Facts run={run} />}
        {error && (
          <Empty>
            <p role="alert">{error.message}</p>
            <p className="mt-1">Look whether the id is right, and whether your token covers its project.</p>
          </Empty>
        )}
        {!run && !error && <Skeleton rows={1} />}
        {run?.seq === 0 && (
          <Empty>Nobody has reported this run yet. Its first update appears here the moment it comes.</Empty>
        )}
      </section>
      {run && run.seq > 0 && (
        <div className="grid gap-x-6 gap-y-9 md:grid-cols-2">
          <Tests run={run} tests={snapshot.tests} />
          <Timeline events={events} />
        </div>
      )}
    </>
  );
}

/** Every event of a run, from the first that the log still has. */
function useHistory(live: Live, runId: string) {
  const [events, setEvents] = useState<readonly JobState[]>([]);
  const [error, setError] = useState<RuncastError>();
  useEffect(() => {
    // A burst is drawn once.
    let burst: JobState[] = [];
    const show = () => {
      const news = burst;
      burst = [];
      setEvents((before) => [...before, ...news]);
    };
    const onState = (state: JobState) => {
      if (!burst.length) queueMicrotask(show);
      burst.push(state);
    };
    const onReset = () => {
      burst = [];
      setEvents([]);
    };
    const watch = live.watchHistory(runId, { onState, onReset, onError: setError });
    return () => {
      watch.close();
      onReset();
    };
  }, [live, runId]);
  return { events, error };
}

function Facts({ run }: { run: JobState }) {
  const facts: [string, ReactNode][] = [
    ['Run', run.name && run.runId],
    ['Job', run.jobId],
    ['Started', clock(run.startedAt, true)],
    ['Ended', clock(run.completedAt, true)],
    ['Artifacts', run.artifactPaths?.join(', ')],
    ['Repeats', run.rerunOf && <RerunOf runId={run.rerunOf} />],
    ['Ran at', run.url && <RanAt url={run.url} />],
  ];
  return (
    <div className={`card grid grid-cols-1 gap-4 p-4 ${run.stale ? 'stale' : ''}`}>
      <dl className="flex flex-wrap gap-x-8 gap-y-2 text-sm">
        {facts.map(
          ([name, value]) =>
            value && (
              <div key={name} className="max-w-full min-w-0">
                <dt className="text-xs text-quiet">{name}</dt>
                <dd className="break-words">{value}</dd>
              </div>
            ),
        )}
      </dl>
      <Marks state={run} />
      <RunProgress run={run} />
      <Attempts state={run} />
      {run.errorDetails && (
        <p className="hue-border rounded-lg border px-3 py-2 text-sm break-words" data-status={run.status}>
          {run.errorDetails}
        </p>
      )}
    </div>
  );
}
