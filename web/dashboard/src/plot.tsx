import { useEffect, useRef, useState } from 'react';
import { clockOf, useNow } from './time.ts';

/** A line of a plot: what it is, and the CSS variable that is its colour. */
export interface Line {
  name: string;
  color: string;
}

/** Values at a time, in milliseconds since the epoch; `null` where nothing is known from then on. */
export interface Point {
  at: number;
  values: readonly number[] | null;
}

interface PlotProps {
  lines: readonly Line[];
  points: readonly Point[];
  /** Says in words what it shows. */
  summary: string;
  /** Whether the last point still holds. */
  isLive: boolean;
}

/** In pixels. */
const HEIGHT = 200;
const LEFT = 44;
const RIGHT = 12;
const TOP = 10;
const BOTTOM = 26;
/** The shortest and the longest time that is drawn, in milliseconds. */
const SHORTEST = 60_000;
const LONGEST = 10 * 60_000;

/** A plot of the last minutes: values hold until the next, and what is not known is a gap. */
export function Plot({ lines, points, summary, isLive }: PlotProps) {
  const place = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  const [pointedX, setPointedX] = useState<number>();
  const now = Math.max(useNow(), points.at(-1)?.at ?? 0);
  useEffect(() => {
    const parent = place.current;
    if (!parent) return;
    const resized = new ResizeObserver(() => setWidth(parent.clientWidth));
    resized.observe(parent);
    return () => resized.disconnect();
  }, []);
  const last = points.at(-1);
  const drawn: Point[] = last ? [...points, { at: now, values: isLive ? last.values : null }] : [];
  const from = Math.max(now - LONGEST, Math.min(points[0]?.at ?? now, now - SHORTEST));
  const most = Math.max(0, ...drawn.filter(({ at }) => at >= from).flatMap(({ values }) => values ?? []));
  const top = topOf(most);
  const [inner, high] = [Math.max(1, width - LEFT - RIGHT), HEIGHT - TOP - BOTTOM];
  const x = (at: number) => LEFT + (Math.max(0, at - from) / (now - from)) * inner;
  const y = (value: number) => TOP + high - (value / top) * high;
  const pointed = pointedX === undefined ? undefined : from + ((pointedX - LEFT) / inner) * (now - from);
  const shown = pointed === undefined ? last : drawn.findLast(({ at }) => at <= pointed);
  return (
    <figure className="grid min-w-0 gap-2">
      <figcaption className="flex flex-wrap gap-x-5 text-[13px]">
        {lines.map(({ name, color }, index) => (
          <span key={name} className="inline-flex items-center gap-1.5">
            <span aria-hidden className="plot-key" style={{ background: `var(${color})` }} />
            <span className="text-quiet">{name}</span>
            <b className="font-semibold">{shown?.values?.[index]?.toLocaleString('en') ?? '–'}</b>
          </span>
        ))}
        <span className="ml-auto text-quiet">{pointed === undefined ? 'now' : clockOf(pointed)}</span>
      </figcaption>
      <div ref={place} className="min-w-0">
        <svg
          role="img"
          aria-label={summary}
          width={width}
          height={HEIGHT}
          className="block text-[11px]"
          onPointerMove={({ nativeEvent: { offsetX } }) =>
            setPointedX(Math.min(width - RIGHT, Math.max(LEFT, offsetX)))
          }
          onPointerLeave={() => setPointedX(undefined)}
        >
          {[0, top / 2, top].map((value) => (
            <g key={value}>
              <line x1={LEFT} x2={width - RIGHT} y1={y(value)} y2={y(value)} className="stroke-line" />
              <text x={LEFT - 8} y={y(value) + 4} textAnchor="end" className="fill-quiet">
                {value.toLocaleString('en')}
              </text>
            </g>
          ))}
          {ticksOf(from, now, inner).map((at) => (
            <text key={at} x={x(at)} y={HEIGHT - 6} textAnchor="middle" className="fill-quiet">
              {clockOf(at)}
            </text>
          ))}
          {lines.map(({ name, color }, index) => (
            <path
              key={name}
              d={pathOf(drawn, index, from, x, y)}
              fill="none"
              strokeWidth={2}
              strokeLinejoin="round"
              strokeDasharray={index ? (index > 1 ? '2 3' : '6 3') : undefined}
              style={{ stroke: `var(${color})` }}
            />
          ))}
          {pointedX !== undefined && (
            <line x1={pointedX} x2={pointedX} y1={TOP} y2={TOP + high} className="stroke-quiet" />
          )}
        </svg>
      </div>
    </figure>
  );
}

/** Steps; a gap where nothing is known. */
function pathOf(
  points: readonly Point[],
  line: number,
  from: number,
  x: (at: number) => number,
  y: (value: number) => number,
): string {
  let [path, isDrawing] = ['', false];
  points.forEach(({ at, values }, index) => {
    const until = points[index + 1]?.at ?? at;
    const value = values?.[line];
    if (until < from) return;
    if (value === undefined) {
      isDrawing = false;
      return;
    }
    path += `${isDrawing ? 'L' : 'M'}${x(at).toFixed(1)} ${y(value).toFixed(1)}H${x(until).toFixed(1)}`;
    isDrawing = true;
  });
  return path;
}

/** The next number above, of those that halve well, so that the upper line has a label that one can read. */
function topOf(most: number): number {
  const size = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
  return [2, 4, 6, 8, 10, 20].map((step) => step * size).find((top) => top >= Math.max(most, 4)) ?? most;
}

const STEPS = [15_000, 30_000, 60_000, 120_000, 300_000];

function ticksOf(from: number, to: number, width: number): number[] {
  const most = Math.max(1, Math.floor(width / 110));
  const step = STEPS.find((step) => (to - from) / step <= most) ?? LONGEST;
  const first = Math.ceil(from / step) * step;
  return Array.from(
    { length: Math.max(0, Math.ceil((to - first) / step)) },
    (_, index) => first + index * step,
  );
}
