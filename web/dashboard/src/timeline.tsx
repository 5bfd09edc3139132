import { useEffect, useMemo, useRef, useState } from 'react';
import { isTerminal, type RunSnapshot, type TestState } from 'runcast-client';
import { type Lane, lanesOf, type Span } from './lanes.ts';
import { usePaced } from './paced.ts';
import { Empty } from './panel.tsx';
import { hrefOfTest } from './route.ts';
import { standingOf, titleOf, tookOf } from './standing.ts';
import { StatusIcon } from './status.tsx';
import { useTheme } from './theme.ts';
import { took, useNow } from './time.ts';

const PACE_MS = 250;
const AXIS_HEIGHT = 22;
/** Room for the names of lanes. */
const GUTTER = 100;
const MOST_HEIGHT = 560;
const SLOWEST = 5;

/** What ran when, and beside what: a lane for each worker. */
export function Timeline({ snapshot, query }: { snapshot: RunSnapshot; query: URLSearchParams }) {
  const { run, tests } = usePaced(snapshot, PACE_MS);
  const isLive = !isTerminal(run.status);
  const now = useNow();
  const lanes = useMemo(
    () => lanesOf(tests.values(), isLive ? now : Date.parse(run.completedAt ?? '') || now),
    [tests, isLive, now, run.completedAt],
  );
  const slowest = useMemo(() => slowestOf(tests.values()), [tests]);
  if (!lanes.length) return <Empty>No test of this run has begun.</Empty>;
  return (
    <section aria-label="Timeline" className="grid gap-4">
      <div className="card p-3">
        <Chart lanes={lanes} runId={run.runId} query={query} />
      </div>
      <div className="text-[13px]">
        <h3 className="mb-1.5 font-semibold">What took longest</h3>
        <ol className="grid gap-1">
          {slowest.map((test) => (
            <li key={test.testId} className="flex items-baseline gap-2">
              <StatusIcon status={test.status} size={13} />
              <a
                href={hrefOfTest(run.runId, test.testId, query)}
                className="min-w-0 truncate hover:underline"
              >
                {titleOf(test)}
              </a>
              <span className="ml-auto text-quiet">{took(tookOf(test, Date.now()))}</span>
            </li>
          ))}
        </ol>
      </div>
    </section>
  );
}

function slowestOf(tests: Iterable<TestState>): TestState[] {
  const took = [...tests].filter((test) => tookOf(test, Date.now()) > 0);
  return took.sort((one, other) => tookOf(other, Date.now()) - tookOf(one, Date.now())).slice(0, SLOWEST);
}

interface Shown {
  span: Span;
  x: number;
  y: number;
}

function Chart({ lanes, runId, query }: { lanes: readonly Lane[]; runId: string; query: URLSearchParams }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(0);
  const [shown, setShown] = useState<Shown>();
  const theme = useTheme();
  const laneHeight = Math.max(3, Math.min(20, Math.floor((MOST_HEIGHT - AXIS_HEIGHT) / lanes.length)));
  const height = lanes.length * laneHeight + AXIS_HEIGHT;
  const gutter = lanes.some(({ name }) => name) ? GUTTER : 0;
  const [from, to] = useMemo(() => rangeOf(lanes), [lanes]);
  useEffect(() => {
    const parent = canvas.current?.parentElement;
    if (!parent) return;
    const resized = new ResizeObserver(() => setWidth(parent.clientWidth));
    resized.observe(parent);
    return () => resized.disconnect();
  }, []);
  const scale = (width - gutter) / (to - from);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a canvas has to be drawn anew in other colours
  useEffect(() => {
    if (canvas.current && width) draw(canvas.current, { lanes, from, to, width, height, laneHeight, gutter });
  }, [lanes, from, to, width, height, laneHeight, gutter, theme]);
  const find = ({ nativeEvent: { offsetX: x, offsetY: y } }: React.MouseEvent): Shown | undefined => {
    const at = from + (x - gutter) / scale;
    // What is narrower than the pointer is found, too.
    const slack = 2 / scale;
    const lane = lanes[Math.floor(y / laneHeight)];
    const span = lane?.spans.find((span) => span.from - slack <= at && at <= span.to + slack);
    return span && { span, x, y };
  };
  const spans = lanes.reduce((sum, { spans }) => sum + spans.length, 0);
  return (
    <div className="relative">
      <canvas
        ref={canvas}
        role="img"
        aria-label={`${spans} tests on ${lanes.length} lanes, within ${took(to - from)}`}
        className={`block ${shown ? 'cursor-pointer' : ''}`}
        style={{ width: '100%', height }}
        onMouseMove={(event) => setShown(find(event))}
        onMouseLeave={() => setShown(undefined)}
        onClick={(event) => {
          const found = find(event);
          if (found) location.hash = hrefOfTest(runId, found.span.test.testId, query);
        }}
      />
      {shown && (
        <p
          className="card pointer-events-none absolute z-[2] max-w-64 px-2.5 py-1.5 text-xs shadow-lg"
          style={{
            top: shown.y + 14,
            ...(shown.x > width / 2 ? { right: width - shown.x } : { left: shown.x }),
          }}
        >
          <span className="block truncate font-medium">{titleOf(shown.span.test)}</span>
          <span className="text-quiet">
            {shown.span.test.status} · {took(shown.span.to - shown.span.from)} · began at +
            {took(shown.span.from - from)}
          </span>
        </p>
      )}
    </div>
  );
}

function rangeOf(lanes: readonly Lane[]): [number, number] {
  let [from, to] = [Number.POSITIVE_INFINITY, 0];
  for (const { spans } of lanes) {
    from = Math.min(from, spans[0]?.from ?? from);
    to = Math.max(to, spans.at(-1)?.to ?? to);
  }
  return [from, Math.max(to, from + 1000)];
}

interface Drawing {
  lanes: readonly Lane[];
  from: number;
  to: number;
  width: number;
  height: number;
  laneHeight: number;
  gutter: number;
}

function draw(
  canvas: HTMLCanvasElement,
  { lanes, from, to, width, height, laneHeight, gutter }: Drawing,
): void {
  const ratio = devicePixelRatio;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = canvas.getContext('2d');
  if (!context) return;
  context.scale(ratio, ratio);
  const style = getComputedStyle(canvas);
  const hues = new Map<string, string>();
  const hueOf = (name: string) => {
    if (!hues.has(name)) hues.set(name, resolved(canvas, `--${name}`));
    return hues.get(name) as string;
  };
  const scale = (width - gutter) / (to - from);
  context.font = `11px ${style.fontFamily}`;
  context.textBaseline = 'middle';
  for (const at of ticksOf(to - from, width - gutter)) {
    const x = gutter + at * scale;
    context.fillStyle = hueOf('line');
    context.fillRect(x, 0, 1, height - AXIS_HEIGHT);
    context.fillStyle = hueOf('quiet');
    context.textAlign = at === 0 ? 'left' : 'center';
    if (at === 0 || x < width - 20) context.fillText(at ? took(at) : '0', x, height - AXIS_HEIGHT / 2 + 2);
  }
  const gap = laneHeight > 6 ? 2 : laneHeight > 3 ? 1 : 0;
  context.textAlign = 'left';
  lanes.forEach(({ name, spans }, index) => {
    const y = index * laneHeight;
    if (name) {
      context.fillStyle = hueOf('quiet');
      context.fillText(name.slice(0, 18), 0, y + laneHeight / 2);
    }
    for (const { test, from: begin, to: end } of spans) {
      context.fillStyle = hueOf(standingOf(test));
      // Those that follow at once are told apart.
      const wide = Math.max(1.5, (end - begin) * scale - (gap ? 1 : 0));
      context.fillRect(gutter + (begin - from) * scale, y + gap / 2, wide, laneHeight - gap);
    }
  });
}

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400];

function ticksOf(length: number, width: number): number[] {
  const most = Math.max(2, Math.floor(width / 80));
  const step = 1000 * (STEPS.find((seconds) => length / (seconds * 1000) <= most) ?? 86_400);
  return Array.from({ length: Math.floor(length / step) + 1 }, (_, index) => index * step);
}

/** A canvas knows no CSS variables. */
function resolved(element: HTMLElement, variable: string): string {
  element.style.color = `var(${variable})`;
  const { color } = getComputedStyle(element);
  element.style.color = '';
  return color;
}
