import { ChevronDown, ChevronRight, Crosshair } from 'lucide-react';
import { memo, useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { isTerminal, type JobState, type RunSnapshot, type TestState } from 'runcast-client';
import { arrange, type Grouping, type Item } from './arrange.ts';
import { Duration } from './duration.tsx';
import { ErrorText } from './error-text.tsx';
import { type Choice, Choices, SearchField } from './filters.tsx';
import { Marks } from './life.tsx';
import { Empty } from './panel.tsx';
import { hrefOfTest } from './route.ts';
import { countsOf, placeOf, STANDINGS, standingOf, titleOf, WORDS } from './standing.ts';
import { StatusIcon } from './status.tsx';
import { took } from './time.ts';
import { VirtualList } from './virtual-list.tsx';

/** How many tests of a run the server lists. */
const MOST = 10_000;

const GROUPINGS: Choice[] = [
  { value: 'status', word: 'Status' },
  { value: 'file', word: 'File' },
  { value: 'duration', word: 'Slowest' },
];

interface TestsProps {
  snapshot: RunSnapshot;
  query: URLSearchParams;
  /** The one that is looked at beside the list. */
  testId: string | undefined;
}

/** The tests of a run, what went wrong first. */
export function Tests({ snapshot, query, testId }: TestsProps) {
  const { run, tests, isLoading } = snapshot;
  const [closed, setClosed] = useState<ReadonlySet<string>>(new Set());
  const counts = countsOf(run.tests);
  const standing = STANDINGS.find((each) => each === query.get('status'));
  const grouping = (GROUPINGS.find(({ value }) => value === query.get('group'))?.value ??
    'status') as Grouping;
  const search = query.get('q') ?? '';
  const items = useMemo(
    () => arrange(tests.values(), { grouping, standing, search, closed }),
    [tests, grouping, standing, search, closed],
  );
  const toggle = useCallback((key: string) => {
    setClosed((before) => {
      const after = new Set(before);
      if (!after.delete(key)) after.add(key);
      return after;
    });
  }, []);
  const labels = JSON.stringify(run.labels);
  // The same for each event that changes none of them, so that rows need not be drawn anew.
  const known: JobState['labels'] = useMemo(() => JSON.parse(labels), [labels]);
  const { isFollowing, follow, followed } = useFollowing(snapshot);
  const choices: Choice[] = [
    { value: '', word: 'All', count: run.tests?.total ?? tests.size },
    ...STANDINGS.filter((each) => counts[each] || each === standing).map((each) => ({
      value: each,
      word: WORDS[each],
      count: counts[each],
      hue: each,
    })),
  ];
  return (
    <section aria-label="Tests" className="grid min-w-0 grid-cols-1 gap-3">
      <div className="flex flex-wrap items-center gap-x-4 gap-y-2">
        <Choices name="status" label="Status" chosen={standing ?? ''} choices={choices} />
        <span className="flex min-w-0 items-center gap-2 text-[13px] text-quiet">
          <span className="max-sm:sr-only">Group</span>
          <Choices name="group" label="Group by" chosen={grouping} choices={GROUPINGS} />
        </span>
        <SearchField value={search} label="Search tests" />
        {!isTerminal(run.status) && (
          <button type="button" className="choice" aria-pressed={isFollowing} onClick={follow}>
            <Crosshair size={14} aria-hidden /> Follow failures
          </button>
        )}
      </div>
      {isLoading && (
        <p className="text-[13px] text-quiet" role="status">
          Loading {tests.size.toLocaleString('en')}
          {run.tests ? ` of ${run.tests.total.toLocaleString('en')}` : ''} tests …
        </p>
      )}
      {!isLoading && tests.size >= MOST && (run.tests?.total ?? 0) > tests.size && (
        <p className="text-[13px] text-quiet">
          The server lists {tests.size.toLocaleString('en')} of them; the counts are of all.
        </p>
      )}
      {items.length > 0 ? (
        <div className="card overflow-hidden">
          <VirtualList
            id="tests"
            label="Tests of the run"
            items={items}
            keyOf={keyOf}
            heightOf={heightOf}
            shown={followed}
          >
            {(item) =>
              item.kind === 'group' ? (
                <Group item={item} toggle={toggle} />
              ) : (
                <Row
                  test={item.test}
                  known={known}
                  href={hrefOfTest(run.runId, item.test.testId, query)}
                  isShown={item.test.testId === testId}
                  isNew={item.test.testId === followed?.key}
                  withFile={grouping !== 'file'}
                />
              )
            }
          </VirtualList>
        </div>
      ) : (
        !isLoading && <NoTests snapshot={snapshot} isFiltered={!!standing || !!search} />
      )}
    </section>
  );
}

const keyOf = ({ key }: Item): string => key;

const heightOf = (item: Item): number => {
  if (item.kind === 'group') return 37;
  return item.standing === 'failed' ? 120 : item.test.file || item.test.suite ? 57 : 41;
};

function NoTests({ snapshot: { run, tests }, isFiltered }: { snapshot: RunSnapshot; isFiltered: boolean }) {
  if (isFiltered && tests.size) {
    return (
      <Empty>
        <p>None of {tests.size.toLocaleString('en')} tests is like that.</p>
        <a href={`#/runs/${run.runId}`} className="button mt-3">
          Show all
        </a>
      </Empty>
    );
  }
  return (
    <Empty>
      {isTerminal(run.status)
        ? 'No test named this run.'
        : 'No test names this run yet. They appear here as they are reported.'}
    </Empty>
  );
}

const Group = memo(function Group({
  item,
  toggle,
}: {
  item: Item & { kind: 'group' };
  toggle: (key: string) => void;
}) {
  const { key, title, hue, count, failed, tookMs, isOpen } = item;
  const Chevron = isOpen ? ChevronDown : ChevronRight;
  return (
    <h3>
      <button
        type="button"
        aria-expanded={isOpen}
        onClick={() => toggle(key)}
        className="group row line flex w-full items-center gap-2 bg-track/50 px-3 py-2 text-left text-[13px] font-semibold"
      >
        <Chevron size={14} aria-hidden className="shrink-0 text-quiet" />
        <span className="dot" data-status={hue} aria-hidden />
        <span className="min-w-0 truncate">{title}</span>
        <span className="font-normal text-quiet">{count.toLocaleString('en')}</span>
        {failed > 0 && failed < count && (
          <span className="hue font-medium" data-status="failed">
            {failed} failed
          </span>
        )}
        {tookMs > 0 && (
          <span className="ml-auto font-normal text-quiet" title="All that have ended, together">
            {took(tookMs)}
          </span>
        )}
      </button>
    </h3>
  );
}, isSameGroup);

function isSameGroup(
  { item: one }: { item: Item & { kind: 'group' } },
  { item: other }: { item: Item & { kind: 'group' } },
): boolean {
  return (
    one.key === other.key &&
    one.count === other.count &&
    one.failed === other.failed &&
    one.tookMs === other.tookMs &&
    one.hue === other.hue &&
    one.isOpen === other.isOpen
  );
}

const Row = memo(function Row(props: {
  test: TestState;
  known: JobState['labels'];
  href: string;
  isShown: boolean;
  isNew: boolean;
  withFile: boolean;
}) {
  const { test, known, href, isShown, isNew, withFile } = props;
  const at = [test.suite, withFile && placeOf(test)].filter(Boolean).join(' · ');
  const isFailed = standingOf(test) === 'failed';
  const lastError = isFailed ? test.error : (test.attempts.findLast(({ error }) => error)?.error ?? null);
  return (
    <article
      data-test={test.testId}
      data-state={test.status}
      className={`row line relative grid grid-cols-[16px_minmax(0,1fr)_auto] gap-x-2.5 px-3.5 py-2.5 ${test.stale ? 'stale' : ''} ${isShown ? 'shown' : ''} ${isNew ? 'flash' : ''}`}
    >
      <span className="self-start pt-1">
        <StatusIcon status={test.status} />
      </span>
      <div className="min-w-0">
        <div className="flex flex-wrap items-center gap-x-2 gap-y-1 text-xs">
          <a
            href={href}
            aria-current={isShown ? 'true' : undefined}
            className="cover min-w-0 truncate text-sm leading-snug font-medium"
          >
            {titleOf(test)}
            <span className="sr-only">, {test.status}</span>
          </a>
          <Marks state={test} known={known} />
        </div>
        {at && <p className="truncate text-xs text-quiet">{at}</p>}
        {lastError && (isFailed || test.status !== 'passed') && (
          <div className="mt-1.5">
            <ErrorText text={lastError} isCut />
          </div>
        )}
      </div>
      <span className="text-[13px] text-quiet">
        <Duration state={test} />
      </span>
    </article>
  );
});

/** Whether the newest failure is scrolled to, whatever is read; which one that is. */
function useFollowing({ run, tests, isLoading }: RunSnapshot) {
  const [isFollowing, setFollowing] = useState(false);
  const [followed, setFollowed] = useState<{ key: string }>();
  const seen = useRef<Set<string>>(undefined);
  const failed = (run.tests?.failed ?? 0) + (run.tests?.error ?? 0);
  // biome-ignore lint/correctness/useExhaustiveDependencies: only another number of failures brings one
  useEffect(() => {
    if (!isFollowing || isLoading) return;
    const now = [...tests.values()].filter((test) => standingOf(test) === 'failed');
    const newest = now.findLast(({ testId }) => !seen.current?.has(testId));
    // What failed before is where one begins.
    if (newest) setFollowed({ key: newest.testId });
    seen.current = new Set(now.map(({ testId }) => testId));
  }, [isFollowing, isLoading, failed]);
  const follow = () => {
    seen.current = undefined;
    setFollowing((is) => !is);
    setFollowed(undefined);
  };
  return { isFollowing, follow, followed };
}
