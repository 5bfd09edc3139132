import type { TestState } from 'runcast-client';
import { STANDINGS, type Standing, standingOf, textOf, tookOf, WORDS } from './standing.ts';

export type Grouping = 'status' | 'file' | 'duration';

/** What stands in the list. */
export type Item =
  | {
      kind: 'group';
      key: string;
      title: string;
      hue: Standing | undefined;
      count: number;
      failed: number;
      /** How long those that have ended took together, in milliseconds. */
      tookMs: number;
      isOpen: boolean;
    }
  | { kind: 'test'; key: string; test: TestState; standing: Standing };

export interface Arrangement {
  grouping: Grouping;
  /** Only those that stand so. */
  standing: Standing | undefined;
  /** Only those that have this in what they are searched by. */
  search: string;
  /** The groups of which only the heading is shown. */
  closed: ReadonlySet<string>;
}

/** Puts the tests of a run into their order: what went wrong first. */
export function arrange(tests: Iterable<TestState>, by: Arrangement): Item[] {
  const search = by.search.toLowerCase();
  const found: TestItem[] = [];
  for (const test of tests) {
    const standing = standingOf(test);
    if (by.standing && standing !== by.standing) continue;
    if (search && !textOf(test).includes(search)) continue;
    found.push({ kind: 'test', key: test.testId, test, standing });
  }
  if (by.grouping === 'duration') return byDuration(found);
  if (found.length <= SORTED) found.sort(byPlace);
  return by.grouping === 'file' ? byFile(found, by.closed) : byStanding(found, by.closed);
}

/** Of so many at most, all are put into the order of the code; more stand as they came. */
const SORTED = 1_000;

const NAMES = new Intl.Collator('en', { numeric: true });

function byPlace({ test: one }: TestItem, { test: other }: TestItem): number {
  return (
    NAMES.compare(one.file ?? '', other.file ?? '') ||
    (one.line ?? 0) - (other.line ?? 0) ||
    NAMES.compare(one.name ?? one.testId, other.name ?? other.testId)
  );
}

/** Those that failed, in the order of the list. */
export function failuresOf(tests: Iterable<TestState>): TestState[] {
  const items = arrange(tests, { grouping: 'status', standing: 'failed', search: '', closed: new Set() });
  return items.flatMap((item) => (item.kind === 'test' ? [item.test] : []));
}

type TestItem = Item & { kind: 'test' };

function byDuration(found: TestItem[]): Item[] {
  const now = Date.now();
  const took = new Map(found.map((item) => [item, tookOf(item.test, now)]));
  return found.toSorted((one, other) => (took.get(other) ?? 0) - (took.get(one) ?? 0));
}

function byStanding(found: TestItem[], closed: ReadonlySet<string>): Item[] {
  const groups = new Map<Standing, TestItem[]>(STANDINGS.map((standing) => [standing, []]));
  for (const item of found) groups.get(item.standing)?.push(item);
  return [...groups].flatMap(([standing, items]) =>
    items.length ? group(`status ${standing}`, WORDS[standing], standing, items, closed) : [],
  );
}

function byFile(found: TestItem[], closed: ReadonlySet<string>): Item[] {
  const files = new Map<string, TestItem[]>();
  for (const item of found) {
    const file = item.test.file ?? item.test.suite ?? '';
    const items = files.get(file);
    if (items) items.push(item);
    else files.set(file, [item]);
  }
  const standing = new Map([...files].map(([file, items]) => [file, worstOf(items)]));
  const rank = (file: string) => (standing.get(file) === 'failed' ? 0 : 1);
  const sorted = [...files].sort(([one], [other]) => rank(one) - rank(other) || (one < other ? -1 : 1));
  return sorted.flatMap(([file, items]) => {
    const worst = standing.get(file);
    const ordered = [...items.filter(isFailed), ...items.filter((item) => !isFailed(item))];
    return group(`file ${file}`, file || 'No file', worst, ordered, closed);
  });
}

function group(
  key: string,
  title: string,
  hue: Standing | undefined,
  items: TestItem[],
  closed: ReadonlySet<string>,
): Item[] {
  const isOpen = !closed.has(key);
  const failed = items.filter(isFailed).length;
  const tookMs = items.reduce((sum, { test }) => sum + (test.durationMs ?? 0), 0);
  const heading: Item = { kind: 'group', key, title, hue, count: items.length, failed, tookMs, isOpen };
  return [heading, ...(isOpen ? items : [])];
}

const isFailed = ({ standing }: TestItem): boolean => standing === 'failed';

function worstOf(items: readonly TestItem[]): Standing | undefined {
  const all = new Set(items.map(({ standing }) => standing));
  return STANDINGS.find((standing) => all.has(standing));
}
