import type { JobState, TestCounts, TestState } from './schema.ts';
import { Tests } from './tests.ts';
import type { RunSnapshot } from './types.ts';

/** How long changes are collected, in milliseconds: what is drawn sixty times in a second need not be told more often. */
const BATCH_MS = 16;
/** For how long what one stream has told waits for what the other has to say of it, in milliseconds. */
const HOLD_MS = 1_000;
/** The same, where it has waited in vain. */
const VAIN_HOLD_MS = 100;

const COUNTED = [
  'waiting',
  'running',
  'completed',
  'passed',
  'failed',
  'error',
  'cancelled',
  'skipped',
  'flaky',
] as const;

type Counts = Partial<Record<(typeof COUNTED)[number], number>>;

/** What can be compared. */
const textOf = (counts: Counts | TestCounts | null): string =>
  COUNTED.map((name) => counts?.[name] ?? 0).join();

/** A change that is not shown yet, and the counts that there are with it. */
interface Held<S> {
  state: S;
  counts: string;
}

/**
 * A run and its tests as one. They come by two streams, each in its own order, and one of them is ahead: what it told is
 * held until the other has caught up, which shows by the counts of tests that each state of the run has. So the counts
 * and the tests always agree, unless the other half does not come for {@link HOLD_MS}.
 */
export class RunView {
  /** Whether tests that there were before are still to come. */
  #isLoading = true;
  readonly #tell: (snapshot: RunSnapshot) => void;
  #run: JobState | undefined;
  #tests = new Tests();
  /** The counts, by what is shown of the run, and of its tests. */
  #runCounts = '';
  #testCounts = textOf(null);
  /** What is not shown yet, in its order. */
  #runs: Held<JobState>[] = [];
  #changes: Held<TestState>[] = [];
  /** The tests and their counts with all that came. */
  readonly #latest = new Map<string, TestState>();
  #counts: Counts = {};
  #holdMs = HOLD_MS;
  #hold: ReturnType<typeof setTimeout> | undefined;
  #batch: ReturnType<typeof setTimeout> | undefined;

  constructor(tell: (snapshot: RunSnapshot) => void) {
    this.#tell = tell;
  }

  /** Whether the tests are there, and are those that the run counts. */
  get isConsistent(): boolean {
    return !this.#isLoading && !this.#isHolding && this.#runCounts === this.#testCounts;
  }

  takeRun(state: JobState): void {
    const counts = textOf(state.tests);
    this.#runs.push({ state, counts });
    const match = this.#changes.findLastIndex((change) => change.counts === counts);
    if (match >= 0 || counts === this.#testCounts) this.#show(match + 1, this.#runs.length);
    this.#settle();
  }

  takeTest(state: TestState): void {
    this.#count(this.#latest.get(state.testId), -1);
    this.#count(state, 1);
    this.#latest.set(state.testId, state);
    const counts = textOf(this.#counts);
    this.#changes.push({ state, counts });
    const match = this.#runs.findLastIndex((run) => run.counts === counts);
    if (match >= 0 || counts === this.#runCounts) this.#show(this.#changes.length, match + 1);
    this.#settle();
  }

  /** All tests that there were before have come. */
  loaded(): void {
    if (!this.#isLoading) return;
    this.#isLoading = false;
    this.#settle();
    this.#changed();
  }

  /** What was told of the run no longer holds. */
  resetRun(): void {
    this.#runs = [];
    this.#run = undefined;
    this.#runCounts = '';
  }

  /** What was told of its tests no longer holds. */
  resetTests(): void {
    this.#isLoading = true;
    this.#changes = [];
    this.#latest.clear();
    this.#counts = {};
    this.#tests = new Tests();
    this.#testCounts = textOf(null);
  }

  /** Tells all that there is. */
  flush(): void {
    if (this.#isHolding) this.#showAll();
    if (this.#batch) this.#tellNow();
  }

  close(): void {
    clearTimeout(this.#hold);
    clearTimeout(this.#batch);
  }

  get #isHolding(): boolean {
    return !!(this.#runs[0] || this.#changes[0]);
  }

  /** While there is more to come, what there is shows at once. */
  #settle(): void {
    if (!this.#isHolding) return;
    if (this.#isLoading) this.#changed();
    else this.#hold ??= setTimeout(this.#holdNoLonger, this.#holdMs);
  }

  readonly #holdNoLonger = (): void => {
    this.#showAll();
    this.#holdMs = VAIN_HOLD_MS;
  };

  #changed(): void {
    this.#batch ??= setTimeout(this.#tellNow, BATCH_MS);
  }

  readonly #tellNow = (): void => {
    if (this.#isLoading) this.#showAll();
    clearTimeout(this.#batch);
    this.#batch = undefined;
    const [run, tests, isLoading] = [this.#run, this.#tests, this.#isLoading];
    const isConsistent = this.#runCounts === this.#testCounts;
    if (run) this.#tell({ run, tests, isLoading, isConsistent });
  };

  #showAll(): void {
    this.#show(this.#changes.length, this.#runs.length);
  }

  /** Shows the first of what is held. */
  #show(changes: number, runs: number): void {
    const shown = this.#changes.splice(0, changes);
    this.#tests = this.#tests.with(shown.map(({ state }) => state));
    this.#testCounts = shown.at(-1)?.counts ?? this.#testCounts;
    const run = this.#runs.splice(0, runs).at(-1);
    this.#run = run?.state ?? this.#run;
    this.#runCounts = run?.counts ?? this.#runCounts;
    clearTimeout(this.#hold);
    this.#hold = undefined;
    this.#holdMs = HOLD_MS;
    this.#changed();
  }

  #count(test: TestState | undefined, by: number): void {
    if (!test) return;
    const names = test.flaky ? [test.status, 'flaky'] : [test.status];
    for (const name of names as (keyof Counts)[]) this.#counts[name] = (this.#counts[name] ?? 0) + by;
  }
}
