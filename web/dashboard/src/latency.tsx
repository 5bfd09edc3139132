import type { Point } from './live.ts';
import { Panel } from './panel.tsx';
import { Plot } from './plot.tsx';

const LINES = [{ name: 'latency', color: '--accent' }];

/** How old events are when they come. */
export function Latency({ points }: { points: readonly Point[] }) {
  const last = points.at(-1)?.values[0];
  const median = medianOf(points);
  return (
    <Panel title="Delivery" aside={last === undefined ? '' : `${last} ms`}>
      <div className="card p-4">
        {points.length ? (
          <Plot
            lines={LINES}
            points={points}
            unit=" ms"
            summary={`Delivery latency: the last ${points.length} events took ${median} ms in the median`}
          />
        ) : (
          <p className="py-6 text-center text-[13px] text-quiet">Drawn with the first live event.</p>
        )}
        <p className="mt-2 text-xs text-quiet">
          From an event’s <code>occurredAt</code> to this page
          {points.length ? `; median ${median}\u00a0ms` : ''}.
        </p>
      </div>
    </Panel>
  );
}

function medianOf(points: readonly Point[]): number {
  const values = points.map(({ values }) => values[0] ?? 0).sort((a, b) => a - b);
  return values[Math.floor(values.length / 2)] ?? 0;
}
