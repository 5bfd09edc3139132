import type { QueueStats } from 'runcast-client';
import type { Snapshot } from './live.ts';
import { Panel } from './panel.tsx';
import { Plot } from './plot.tsx';

const LINES = [
  { name: 'running', color: '--accent', isStepped: true },
  { name: 'queued', color: '--error', isStepped: true },
];

/** How full the queues are, and were. */
export function Queues({ snapshot }: { snapshot: Snapshot }) {
  const { queues, queueHistory } = snapshot;
  const names = Object.keys(queues?.queues ?? {});
  return (
    <Panel title="Queues">
      <div className="card grid gap-4 p-4">
        {queues && names.length ? (
          <>
            <div className="grid grid-cols-2 gap-4">
              <Gauge
                name="Running"
                count={queues.running}
                capacity={queues.runningCapacity}
                color="bg-accent"
              />
              <Gauge name="Queued" count={queues.queued} capacity={queues.queuedCapacity} color="bg-error" />
            </div>
            <Plot
              lines={LINES}
              points={queueHistory}
              unit=""
              summary={`Running and queued jobs over time; now ${queues.running} run and ${queues.queued} are queued`}
            />
            <ul className="grid gap-1 text-[13px]">
              {names.map((name) => (
                <li key={name} className="flex justify-between gap-3">
                  <b className="font-medium">{name}</b>
                  <span className="text-right text-quiet">{counted(queues, name)}</span>
                </li>
              ))}
            </ul>
          </>
        ) : (
          <p className="py-2 text-[13px] text-quiet">
            {queues ? (
              <>
                No queue is watched. Name your BullMQ queues in <code>QUEUE_NAMES</code>.
              </>
            ) : snapshot.queuesError ? (
              snapshot.queuesError.message
            ) : snapshot.error ? (
              'Nothing was told yet.'
            ) : (
              'Counting …'
            )}
          </p>
        )}
      </div>
    </Panel>
  );
}

function Gauge(props: { name: string; count: number; capacity: number; color: string }) {
  const { name, count, capacity, color } = props;
  return (
    <div>
      <p className="text-[13px] text-quiet">
        <span className={`mr-1.5 inline-block size-2 rounded-full ${color}`} aria-hidden />
        {name}
      </p>
      <p className="mt-0.5 mb-2 text-xl font-semibold tracking-tight">
        {count}
        <span className="text-[13px] font-normal tracking-normal text-quiet"> of {capacity}</span>
      </p>
      <div aria-hidden className="h-1.5 overflow-hidden rounded-full bg-track">
        <div
          className={`h-full rounded-full transition-[width] ${color}`}
          style={{ width: `${Math.min(100, (100 * count) / (capacity || 1))}%` }}
        />
      </div>
    </div>
  );
}

function counted({ queues }: QueueStats, name: string): string {
  const counts = Object.entries(queues[name] ?? {}).filter(([, count]) => count);
  return counts.map(([what, count]) => `${count} ${what}`).join(' · ') || 'idle';
}
