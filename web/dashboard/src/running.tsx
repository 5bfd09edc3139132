import { isTerminal, type JobState } from 'runcast-client';
import { Duration } from './duration.tsx';
import { Marks } from './life.tsx';
import type { Snapshot } from './live.ts';
import { Empty, Panel, Skeleton } from './panel.tsx';
import { RunProgress } from './progress.tsx';
import { hrefOfRun } from './route.ts';
import { StatusLabel } from './status.tsx';

/** The runs in progress: those that run, then those that wait. */
export function Running({ snapshot, hasScenes }: { snapshot: Snapshot; hasScenes: boolean }) {
  const active = snapshot.runs.filter((run) => !isTerminal(run.status));
  const running = active.filter((run) => run.status === 'running').sort(byStart);
  const waiting = active.filter((run) => run.status === 'waiting').reverse();
  return (
    <Panel title="In progress" count={active.length}>
      {active.length > 0 && (
        <ul className="grid gap-3 sm:grid-cols-2" id="running">
          {running.map((run) => (
            <RunCard key={run.runId} run={run} />
          ))}
          {waiting.map((run) => (
            <RunCard key={run.runId} run={run} />
          ))}
        </ul>
      )}
      {!active.length && !snapshot.isKnown && !snapshot.error && <Skeleton rows={2} />}
      {!active.length && !snapshot.isKnown && snapshot.error && <Empty>Nothing was told yet.</Empty>}
      {!active.length && snapshot.isKnown && (
        <Empty>
          <p>No run is in progress.</p>
          {hasScenes ? (
            <p className="mt-1">
              Press <b className="font-medium text-text">Start a scene</b>, or report one yourself:
            </p>
          ) : (
            <p className="mt-1">One appears here the moment its first update reaches the worker:</p>
          )}
          <code className="mt-3 inline-block rounded-md bg-track px-2.5 py-1.5 text-left text-text">
            runcast publish job my-run running --completed 3 --total 10
          </code>
        </Empty>
      )}
    </Panel>
  );
}

function RunCard({ run }: { run: JobState }) {
  return (
    <li className={`card relative grid content-start gap-3 p-4 ${run.stale ? 'stale' : ''}`}>
      <div className="flex items-start gap-3">
        <div className="min-w-0 flex-1">
          <a href={hrefOfRun(run.runId)} className="cover block truncate font-semibold">
            {run.name ?? run.runId}
          </a>
          <span className="block truncate text-[13px] text-quiet">
            {[run.jobId, run.name && run.runId].filter(Boolean).join(' · ') || 'no job'}
          </span>
        </div>
        <div className="grid justify-items-end">
          <StatusLabel status={run.status} />
          <Duration state={run} />
        </div>
      </div>
      <RunProgress run={run} />
      <Marks state={run} />
    </li>
  );
}

const byStart = (a: JobState, b: JobState): number => (a.startedAt ?? '').localeCompare(b.startedAt ?? '');
