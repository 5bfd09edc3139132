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

/** By which label tests say where they ran. */
const LABELS = ['shard', 'worker', 'machine', 'project', 'browser'];

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
  const label = LABELS.find((label) => spans.some(({ test }) => test.labels?.[label]));
  const places = new Map<string, Lane[]>();
  for (const span of spans) {
    const name = (label && span.test.labels?.[label]) || '';
    const lanes = places.get(name) ?? [];
    places.set(name, lanes);
    const free = lanes.find(({ spans }) => (spans.at(-1)?.to ?? 0) <= span.from);
    if (free) free.spans.push(span);
    else lanes.push({ name: lanes.length || !name ? '' : `${label} ${name}`, spans: [span] });
  }
  const sorted = [...places].sort(([one], [other]) => one.localeCompare(other, 'en', { numeric: true }));
  return sorted.flatMap(([, lanes]) => lanes);
}
