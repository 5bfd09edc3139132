import { Clapperboard } from 'lucide-react';
import { memo, type ReactNode, useEffect, useMemo, useRef } from 'react';
import { isTerminal, type JobState, type Status } from 'runcast-client';
import { type ProjectRuns, useProjectRuns } from 'runcast-client/react';
import { Ago } from './ago.tsx';
import { Bar, done } from './bar.tsx';
import { Demo, useScene } from './demo.tsx';
import { Duration } from './duration.tsx';
import { plain } from './error-text.tsx';
import { expectedOf } from './expected.ts';
import { type Choice, Choices, SearchField } from './filters.tsx';
import { Labels, Marks, RanAt } from './life.tsx';
import { Refused } from './notice.tsx';
import { Empty, Panel, Skeleton } from './panel.tsx';
import { QueueStrip } from './queue-strip.tsx';
import { hrefOfRun } from './route.ts';
import { useSession } from './session.ts';
import { Counts, StatusIcon } from './status.tsx';
import { useTabTitle } from './tab-title.ts';
import { VirtualList } from './virtual-list.tsx';

const FILTERS: (Choice & { statuses: Status[] })[] = [
  { value: '', word: 'All', statuses: [] },
  { value: 'active', word: 'In progress', hue: 'running', statuses: ['waiting', 'running'] },
  { value: 'failed', word: 'Failed', hue: 'failed', statuses: ['failed', 'error'] },
  { value: 'passed', word: 'Passed', hue: 'passed', statuses: ['passed', 'completed'] },
  { value: 'stopped', word: 'Stopped', hue: 'cancelled', statuses: ['cancelled', 'skipped'] },
];

/** The runs of a project: those in progress, and then the past. */
export function ProjectPage({ projectId, query }: { projectId: string; query: URLSearchParams }) {
  const { local } = useSession().settings;
  const search = query.get('q') ?? '';
  const filter = FILTERS.find(({ value }) => value === query.get('status')) ?? FILTERS[0];
  const statuses = filter?.statuses ?? [];
  const found = useProjectRuns(projectId || undefined, { status: statuses, search });
  const { runs, error, isLoading, hasMore, isLoadingMore, loadMore, retry } = useKept(found, projectId);
  const isFiltered = !!search || statuses.length > 0;
  const active = useMemo(() => runs.filter(({ status }) => !isTerminal(status)), [runs]);
  const ended = useMemo(() => runs.filter(({ status }) => isTerminal(status)), [runs]);
  const expected = useMemo(() => expectedOf(ended), [ended]);
  const running = active.filter(({ status }) => status === 'running').length;
  useTabTitle(
    [running && `${running} running`, projectId].filter(Boolean).join(' · '),
    running ? 'running' : undefined,
  );
  return (
    <>
      {local && <Demo servers={local} projectId={projectId} runs={active} />}
      <QueueStrip />
      <div className="flex flex-wrap items-center gap-x-4 gap-y-2">
        <Choices name="status" label="Status" chosen={filter?.value ?? ''} choices={FILTERS} />
        <SearchField value={search} label="Search name, id, label" />
      </div>
      {!projectId && <Empty>Choose a project above: its runs appear here.</Empty>}
      {error && !runs.length && <Refused error={error} retry={retry} />}
      {isLoading && !error && projectId && <Skeleton rows={5} />}
      {active.length > 0 && (
        <Panel title="In progress" count={active.length}>
          <Runs id="running" label="Runs in progress" runs={active} expected={expected} />
        </Panel>
      )}
      {ended.length > 0 && (
        <Panel title="Finished" count={hasMore ? `${ended.length}+` : ended.length}>
          <Runs id="finished" label="Finished runs" runs={ended} expected={expected} />
          {hasMore && (
            <button
              type="button"
              className="button mx-auto mt-4 block"
              onClick={loadMore}
              aria-disabled={isLoadingMore}
            >
              {isLoadingMore ? 'Loading …' : 'Load more'}
            </button>
          )}
        </Panel>
      )}
      {!runs.length && !isLoading && !error && projectId && (
        <NoRuns isFiltered={isFiltered} hasMore={hasMore} loadMore={loadMore} />
      )}
    </>
  );
}

/** What was found last stays until what is searched for now is known: the list does not flicker. */
function useKept(found: ProjectRuns, projectId: string): ProjectRuns {
  const kept = useRef<{ projectId: string; found: ProjectRuns }>(undefined);
  useEffect(() => {
    if (!found.isLoading) kept.current = { projectId, found };
  }, [found, projectId]);
  const isKept = found.isLoading && !found.error && kept.current?.projectId === projectId;
  return isKept ? (kept.current?.found ?? found) : found;
}

function Runs(props: {
  id: string;
  label: string;
  runs: readonly JobState[];
  expected: (run: JobState) => number | undefined;
}) {
  return (
    <div className="card overflow-hidden">
      <VirtualList id={props.id} label={props.label} items={props.runs} keyOf={keyOf} heightOf={heightOf}>
        {(run) => <Row run={run} expectedMs={props.expected(run)} />}
      </VirtualList>
    </div>
  );
}

const keyOf = ({ runId }: JobState): string => runId;
const heightOf = (): number => 70;

/** A run as a row. */
const Row = memo(function Row({ run, expectedMs }: { run: JobState; expectedMs: number | undefined }) {
  const { runId, name, jobId, status, tests, progress, errorDetails } = run;
  const isOver = isTerminal(status);
  return (
    <article
      data-run={runId}
      className={`row line relative grid grid-cols-[18px_minmax(0,1fr)_auto] gap-x-3 gap-y-1.5 px-4 py-3 sm:grid-cols-[18px_minmax(0,1fr)_minmax(110px,226px)_116px] ${run.stale ? 'stale' : ''}`}
    >
      <span className="pt-0.5">
        <StatusIcon status={status} size={17} />
        <span className="sr-only">{status}</span>
      </span>
      <div className="min-w-0">
        <a href={hrefOfRun(runId)} className="cover block truncate leading-snug font-medium">
          {name ?? runId}
        </a>
        <p className="mt-1 flex flex-wrap items-center gap-1.5 text-xs text-quiet">
          <span className="max-w-full truncate">
            {[name && runId, jobId !== name && jobId].filter(Boolean).join(' · ')}
          </span>
          <Marks state={run} withLabels={false} />
          <span className="contents max-sm:hidden">
            <Labels state={run} />
          </span>
          <RanAt url={run.url} isShort />
        </p>
        {isOver && errorDetails && (
          <p className="mt-1 line-clamp-2 text-[13px] break-words text-quiet">{plain(errorDetails)}</p>
        )}
      </div>
      <div className="col-span-2 col-start-2 row-start-2 grid content-start gap-1.5 sm:col-span-1 sm:col-start-auto sm:row-start-auto sm:pt-1.5">
        <Bar run={run} />
        <div className="flex min-w-0 flex-wrap justify-between gap-x-3 text-xs text-quiet">
          <Counts tests={tests} />
          {!isOver && progress && (
            <span className="truncate" title={progress.message ?? undefined}>
              {[done(progress), !tests && progress.message].filter(Boolean).join(' · ')}
            </span>
          )}
        </div>
      </div>
      <p className="col-start-3 row-start-1 grid content-start justify-items-end gap-1 text-[13px] sm:col-start-4">
        <Duration state={run} expectedMs={expectedMs} />
        <span className="text-xs text-quiet">
          <Ago at={(isOver ? run.completedAt : run.startedAt) ?? run.occurredAt} />
        </span>
      </p>
    </article>
  );
});

function NoRuns(props: { isFiltered: boolean; hasMore: boolean; loadMore: () => void }) {
  const { local } = useSession().settings;
  if (props.isFiltered) {
    return (
      <Empty>
        <p>No run is like that{props.hasMore && ' among the last ones'}.</p>
        <p className="mt-3 flex justify-center gap-2">
          {props.hasMore && (
            <button type="button" className="button" onClick={props.loadMore}>
              Look further back
            </button>
          )}
          <a href={location.hash.replace(/\?.*/s, '') || '#/'} className="button">
            Show all
          </a>
        </p>
      </Empty>
    );
  }
  return (
    <Empty>
      <p className="text-base font-medium text-text">No run yet</p>
      <p className="mt-1">One appears here the moment its first update reaches the worker:</p>
      <Command>runcast publish job my-run running --completed 3 --total 10</Command>
      {local && <SceneButton />}
    </Empty>
  );
}

function SceneButton() {
  const { start, isBusy } = useScene();
  return (
    <p className="mt-4">
      <button type="button" className="button primary" onClick={start} aria-disabled={isBusy}>
        <Clapperboard size={15} aria-hidden /> Start a scene
      </button>
    </p>
  );
}

function Command({ children }: { children: ReactNode }) {
  return (
    <code className="mt-3 inline-block rounded-md bg-track px-2.5 py-1.5 text-left text-text">
      {children}
    </code>
  );
}
