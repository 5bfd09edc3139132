import { isTerminal, type TestState } from 'runcast-client';

/** A test as a span of time, in milliseconds since the epoch. */
export interface Span {
  test: TestState;
  from: number;
  to: number;
}

/** What ran one after the other. */
export interface Lane {
  /** Which shard or worker it is of, where its tests say so, on the first lane of each. */
  name: string;
  spans: Span[];
}

/** By which labels tests say where they ran: by these, or else by the first of the others. */
export const PLACES = ['shard', 'worker'];
const OTHERS = ['machine', 'project', 'browser'];

/** Such as `shard 1/3 · 2`, of a shard and a worker. */
function nameOf({ labels }: TestState, by: readonly string[]): string {
  const its = by.filter((label) => labels?.[label]);
  return its.length ? `${its[0]} ${its.map((label) => labels?.[label]).join(' · ')}` : '';
}

/** The tests that began, put into as few lanes as their times allow, of each shard by itself. */
export function lanesOf(tests: Iterable<TestState>, now: number): Lane[] {
  const spans: Span[] = [];
  for (const test of tests) {
    const { startedAt, completedAt, durationMs } = test;
    if (!startedAt) continue;
    const from = Date.parse(startedAt);
    if (!isTerminal(test.status)) spans.push({ test, from, to: Math.max(from, now) });
    // When it was told is not when it ended, where a reporter tells of many at once.
    else if (durationMs !== null) spans.push({ test, from, to: from + durationMs });
    else spans.push({ test, from, to: Math.max(from, Date.parse(completedAt ?? startedAt)) });
  }
  spans.sort((one, other) => one.from - other.from);
  const isSaid = (label: string) => spans.some(({ test }) => test.labels?.[label]);
  const said = PLACES.filter(isSaid);
  const labels = said.length ? said : OTHERS.filter(isSaid).slice(0, 1);
  const places = new Map<string, Lane[]>();
  for (const span of spans) {
    const name = nameOf(span.test, labels);
    const lanes = places.get(name) ?? [];
    places.set(name, lanes);
    const free = lanes.find(({ spans }) => (spans.at(-1)?.to ?? 0) <= span.from);
    if (free) free.spans.push(span);
    else lanes.push({ name: lanes.length ? '' : name, spans: [span] });
  }
  const sorted = [...places].sort(([one], [other]) => one.localeCompare(other, 'en', { numeric: true }));
  return sorted.flatMap(([, lanes]) => lanes);
}
