import { ArrowRight } from 'lucide-react';
import { useQueues } from './queue-history.ts';

/** How full the queues are, in a line. */
export function QueueStrip() {
  const { stats, isOpen } = useQueues();
  if (!stats || !Object.keys(stats.queues).length) return null;
  const { running, runningCapacity, queued, queuedCapacity } = stats;
  return (
    <a
      id="queue-strip"
      href="#/queues"
      className={`card row flex flex-wrap items-center gap-x-6 gap-y-1.5 px-4 py-2.5 text-[13px] ${isOpen ? '' : 'stale'}`}
    >
      <Gauge name="Running" count={running} capacity={runningCapacity} hue="done" />
      <Gauge name="Queued" count={queued} capacity={queuedCapacity} hue="queued" />
      {!isOpen && <span className="text-quiet">as they were last</span>}
      <span className="ml-auto inline-flex items-center gap-1 text-quiet max-sm:hidden">
        Queues <ArrowRight size={13} aria-hidden />
      </span>
    </a>
  );
}

function Gauge(props: { name: string; count: number; capacity: number; hue: string }) {
  const { name, count, capacity, hue } = props;
  return (
    <span className="inline-flex items-center gap-2">
      <span className="text-quiet">{name}</span>
      <span>
        <b className="font-semibold">{count}</b> <span className="text-quiet">of {capacity}</span>
      </span>
      <Meter count={count} capacity={capacity} hue={hue} className="w-16" />
    </span>
  );
}

/** How much of a capacity is taken. */
export function Meter(props: { count: number; capacity: number; hue: string; className?: string }) {
  const { count, capacity, hue } = props;
  return (
    <span
      aria-hidden
      className={`bar inline-block h-1.5 overflow-hidden rounded-full bg-track ${props.className ?? ''}`}
    >
      <span
        data-status={hue}
        className="segment block h-full"
        style={{ width: `${Math.min(100, (100 * count) / (capacity || 1))}%` }}
      />
    </span>
  );
}
