import { ArrowLeft } from 'lucide-react';
import { useMemo } from 'react';
import type { QueueCounts, QueueStats } from 'runcast-client';
import { Refused } from './notice.tsx';
import { Empty, Panel, Skeleton } from './panel.tsx';
import { type Line, Plot, type Point } from './plot.tsx';
import { type QueuePoint, queuedIn, useQueues } from './queue-history.ts';
import { Meter } from './queue-strip.tsx';
import { hrefOfQueue } from './route.ts';
import { useTabTitle } from './tab-title.ts';

const ALL: Line[] = [
  { name: 'running', color: '--accent' },
  { name: 'queued', color: '--error' },
];
const ONE: Line[] = [
  { name: 'active', color: '--accent' },
  { name: 'waiting', color: '--error' },
  { name: 'delayed', color: '--flaky' },
];
const COLUMNS = ['active', 'waiting', 'prioritized', 'delayed', 'paused', 'completed', 'failed'] as const;

/** How full the queues are, and were in the last minutes; all of them, or one. */
export default function QueuesPage({ queue }: { queue: string | undefined }) {
  const { stats, error, retry, points, isOpen } = useQueues();
  useTabTitle(queue ?? 'Queues');
  const lines = queue ? ONE : ALL;
  const plotted = useMemo(() => points.map((point) => plottedOf(point, queue)), [points, queue]);
  const names = Object.keys(stats?.queues ?? {}).sort();
  if (error && !stats) return <Refused error={error} retry={retry} />;
  if (!stats) return <Skeleton rows={2} className="h-40" />;
  if (!names.length) {
    return (
      <Empty>
        <p className="text-base font-medium text-text">No queue is watched</p>
        <p className="mt-1">
          Name your BullMQ queues in <code>QUEUE_NAMES</code> of the function <code>queue-stats</code>.
        </p>
      </Empty>
    );
  }
  const counts = queue ? stats.queues[queue] : undefined;
  return (
    <>
      {queue && (
        <a
          href="#/queues"
          className="-mb-3 inline-flex items-center gap-1.5 justify-self-start text-[13px] text-quiet hover:text-text"
        >
          <ArrowLeft size={14} aria-hidden /> All queues
        </a>
      )}
      <Panel title={queue ?? 'All queues'} aside="the last minutes, as seen by this tab">
        {queue && !counts ? (
          <Empty>There is no queue of this name.</Empty>
        ) : (
          <div className="card grid gap-4 p-4">
            {counts ? <Figures counts={counts} /> : <Gauges stats={stats} />}
            <Plot lines={lines} points={plotted} isLive={isOpen} summary={summaryOf(queue, counts, stats)} />
          </div>
        )}
      </Panel>
      {!queue && (
        <Panel title="Each queue" count={names.length}>
          <div className="card overflow-x-auto">
            <table className="w-full text-right text-[13px]">
              <thead className="text-quiet">
                <tr className="border-b border-line">
                  <th scope="col" className="px-4 py-2 text-left font-medium">
                    Queue
                  </th>
                  {COLUMNS.map((column) => (
                    <th key={column} scope="col" className="px-3 py-2 font-medium last:pr-4">
                      {column}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {names.map((name) => (
                  <tr key={name} className="row border-b border-line last:border-0">
                    <th scope="row" className="px-4 py-2 text-left font-medium">
                      <a href={hrefOfQueue(name)} className="hover:underline">
                        {name}
                      </a>
                    </th>
                    {COLUMNS.map((column) => (
                      <td key={column} className="px-3 py-2 last:pr-4">
                        <Count count={stats.queues[name]?.[column] ?? 0} />
                      </td>
                    ))}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </Panel>
      )}
    </>
  );
}

function Count({ count }: { count: number }) {
  return <span className={count ? '' : 'text-quiet'}>{count.toLocaleString('en')}</span>;
}

function Gauges({ stats }: { stats: QueueStats }) {
  return (
    <div className="grid grid-cols-2 gap-6">
      <Gauge name="Running" count={stats.running} capacity={stats.runningCapacity} hue="done" />
      <Gauge name="Queued" count={stats.queued} capacity={stats.queuedCapacity} hue="queued" />
    </div>
  );
}

function Gauge(props: { name: string; count: number; capacity: number; hue: string }) {
  const { name, count, capacity } = props;
  return (
    <div>
      <p className="text-[13px] text-quiet">{name}</p>
      <p className="mb-1.5 text-xl font-semibold tracking-tight">
        {count.toLocaleString('en')}
        <span className="text-[13px] font-normal tracking-normal text-quiet">
          {' '}
          of {capacity.toLocaleString('en')}
        </span>
      </p>
      <Meter {...props} className="w-full" />
    </div>
  );
}

function Figures({ counts }: { counts: QueueCounts }) {
  return (
    <dl className="flex flex-wrap gap-x-7 gap-y-3">
      {COLUMNS.map((column) => (
        <div key={column}>
          <dt className="text-[13px] text-quiet">{column}</dt>
          <dd className="text-xl font-semibold tracking-tight">{counts[column].toLocaleString('en')}</dd>
        </div>
      ))}
    </dl>
  );
}

function plottedOf({ at, stats }: QueuePoint, queue: string | undefined): Point {
  if (!stats) return { at, values: null };
  if (!queue) return { at, values: [stats.running, stats.queued] };
  const counts = stats.queues[queue];
  return { at, values: counts ? [counts.active, queuedIn(counts) - counts.delayed, counts.delayed] : null };
}

function summaryOf(queue: string | undefined, counts: QueueCounts | undefined, stats: QueueStats): string {
  if (counts) return `${queue} in the last minutes; now ${counts.active} run and ${queuedIn(counts)} wait`;
  return `Running and queued jobs in the last minutes; now ${stats.running} run and ${stats.queued} are queued`;
}
