import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { Point } from './live.ts';
import { useTheme } from './theme.ts';

/** A line of a plot: what it is, and the CSS variable that is its colour. */
export interface Line {
  name: string;
  color: string;
  /** Whether it keeps its value until the next one. */
  isStepped?: boolean;
}

/** A small plot over time; `summary` says in words what it shows. */
export function Plot(props: {
  lines: readonly Line[];
  points: readonly Point[];
  summary: string;
  unit: string;
}) {
  const { lines, points, summary, unit } = props;
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const theme = useTheme();
  // biome-ignore lint/correctness/useExhaustiveDependencies: a canvas has to be drawn anew in other colours
  useEffect(() => {
    const parent = place.current;
    if (!parent) return;
    const make = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(parent, lines, unit), columns(points, lines.length), parent);
    };
    make();
    const resized = new ResizeObserver(() => {
      plot.current?.setSize({ width: parent.clientWidth, height: HEIGHT });
    });
    resized.observe(parent);
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', make);
    return () => {
      scheme.removeEventListener('change', make);
      resized.disconnect();
      plot.current?.destroy();
    };
  }, [theme, lines, unit]);
  useEffect(() => plot.current?.setData(columns(points, lines.length)), [points, lines]);
  return (
    <div ref={place} role="img" aria-label={summary} className="plot min-w-0" style={{ height: HEIGHT }} />
  );
}

const HEIGHT = 96;
/** The shortest time that is drawn. */
const MIN_SECONDS = 20;
const INCREMENTS = [1, 2, 5]
  .flatMap((step) => [1, 10, 100, 1000, 10_000].map((by) => step * by))
  .sort((a, b) => a - b);

function options(parent: HTMLElement, lines: readonly Line[], unit: string): uPlot.Options {
  const color = (name: string) => resolved(parent, name);
  const axis = {
    stroke: color('--quiet'),
    font: `11px ${getComputedStyle(parent).fontFamily}`,
    ticks: { show: false },
  };
  return {
    width: parent.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    padding: [6, 20, 0, 0],
    scales: {
      x: { range: (_, from, to) => [Math.min(from ?? 0, (to ?? 0) - MIN_SECONDS), to ?? 0] },
      y: { range: (_, __, most) => [0, Math.max(4, (most ?? 0) * 1.15)] },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 22,
        gap: 6,
        space: 90,
        values: (_, times) => times.map((time) => TIME.format(time * 1000)),
      },
      {
        ...axis,
        grid: { stroke: color('--line'), width: 1 },
        size: unit ? 54 : 30,
        gap: 6,
        space: 30,
        incrs: INCREMENTS,
        values: (_, values) => values.map((value) => (Number.isInteger(value) ? `${value}${unit}` : '')),
      },
    ],
    series: [
      {},
      ...lines.map(({ name, color: variable, isStepped }) => ({
        label: name,
        stroke: color(variable),
        width: 1.75,
        points: { show: false },
        ...(isStepped && uPlot.paths.stepped && { paths: uPlot.paths.stepped({ align: 1 }) }),
      })),
    ],
  };
}

const TIME = new Intl.DateTimeFormat([], {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});

function columns(given: readonly Point[], lines: number): uPlot.AlignedData {
  const [first] = given;
  // A single point makes no range: what it says was so before.
  const points =
    first && given.length === 1 ? [{ ...first, at: first.at - MIN_SECONDS * 1000 }, first] : given;
  return [
    points.map(({ at }) => at / 1000),
    ...Array.from({ length: lines }, (_, line) => points.map(({ values }) => values[line] ?? null)),
  ];
}

/** A canvas knows no CSS variables. */
function resolved(element: HTMLElement, variable: string): string {
  element.style.color = `var(${variable})`;
  const { color } = getComputedStyle(element);
  element.style.color = '';
  return color;
}
