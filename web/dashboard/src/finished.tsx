import { isTerminal, type JobState } from 'runcast-client';
import { Marks } from './life.tsx';
import type { Snapshot } from './live.ts';
import { Panel } from './panel.tsx';
import { hrefOfRun } from './route.ts';
import { Counts, StatusLabel } from './status.tsx';
import { clock } from './time.ts';

/** The runs that ended, the last one first. */
export function Finished({ snapshot }: { snapshot: Snapshot }) {
  const finished = snapshot.runs.filter((run) => isTerminal(run.status));
  if (!finished.length) return null;
  return (
    <Panel title="Finished" count={finished.length}>
      <ul id="finished" className="card divide-y divide-line">
        {finished.map((run) => (
          <FinishedRun key={run.runId} run={run} />
        ))}
      </ul>
    </Panel>
  );
}

function FinishedRun({ run }: { run: JobState }) {
  const at = run.completedAt ?? run.occurredAt;
  return (
    <li className="row relative grid grid-cols-[minmax(0,1fr)_auto] items-baseline gap-x-4 gap-y-1 px-4 py-3 sm:grid-cols-[104px_minmax(0,1fr)_auto_64px_104px]">
      <span className="order-2 justify-self-end sm:order-none sm:justify-self-start">
        <StatusLabel status={run.status} />
      </span>
      <span className="order-1 min-w-0 sm:order-none">
        <a href={hrefOfRun(run.runId)} className="cover block truncate font-medium">
          {run.name ?? run.runId}
        </a>
        {run.name && <span className="block truncate text-[13px] text-quiet">{run.runId}</span>}
        {run.errorDetails && (
          <span className="mt-0.5 line-clamp-2 block text-[13px] break-words text-quiet">
            {run.errorDetails}
          </span>
        )}
        <span className="mt-1 block empty:hidden">
          <Marks state={run} />
        </span>
      </span>
      <span className="order-3 sm:order-none">
        <Counts tests={run.tests} isTerse />
      </span>
      <span className="order-4 text-right text-[13px] text-quiet sm:order-none">
        {run.duration}
        <time dateTime={at ?? ''} className="ml-2 sm:hidden">
          {clock(at)}
        </time>
      </span>
      <time dateTime={at ?? ''} className="hidden text-right text-[13px] text-quiet sm:inline">
        {clock(at)}
      </time>
    </li>
  );
}
