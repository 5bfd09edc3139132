import type { JobState, TestCounts, TestState } from './schema.ts';
import { Tests } from './tests.ts';
import type { Topic } from './topic.ts';
import type { RunSnapshot, State } from './types.ts';
import type { View } from './watch.ts';

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

const keyOf = (counts: Counts | TestCounts | null): string =>
  COUNTED.map((name) => counts?.[name] ?? 0).join();

/**
 * A run and its tests as one. They come by two streams, each in its own order, and one of them is ahead: what it told is
 * held until the other has caught up, which shows by the counts of tests that each state of the run has. So the counts
 * and the tests always agree, unless the other half does not come for {@link HOLD_MS}.
 */
export class RunView implements View<RunSnapshot> {
  /** What was told last. */
  snapshot: RunSnapshot | undefined;
  readonly #emit: (snapshot: RunSnapshot) => void;
  /** Whether tests that there were before are still to come. */
  readonly #isLoading: () => boolean;
  #run: JobState | undefined;
  #tests = new Tests();
  /** By what is shown: of the run's state, and of its tests. */
  #runKey = '';
  #testsKey = keyOf(null);
  /** What is not shown yet, in its order; with what it would make of the counts. */
  #runs: [JobState, key: string][] = [];
  #changes: [TestState, key: string][] = [];
  /** The tests and their counts with all that came. */
  readonly #latest = new Map<string, TestState>();
  #counts: Counts = {};
  #holdMs = HOLD_MS;
  #hold: ReturnType<typeof setTimeout> | undefined;
  #batch: ReturnType<typeof setTimeout> | undefined;

  constructor(isLoading: () => boolean, emit: (snapshot: RunSnapshot) => void) {
    this.#isLoading = isLoading;
    this.#emit = emit;
  }

  take(state: State): void {
    if (!('kind' in state)) return;
    if (state.kind === 'job') {
      const key = keyOf(state.tests);
      this.#runs.push([state, key]);
      const match = this.#changes.findLastIndex((change) => change[1] === key);
      if (match >= 0 || key === this.#testsKey) this.#show(match + 1, this.#runs.length);
    } else {
      this.#count(this.#latest.get(state.testId), -1);
      this.#count(state, 1);
      this.#latest.set(state.testId, state);
      const key = keyOf(this.#counts);
      this.#changes.push([state, key]);
      const match = this.#runs.findLastIndex((run) => run[1] === key);
      if (match >= 0 || key === this.#runKey) this.#show(this.#changes.length, match + 1);
    }
    this.touch();
  }

  /** What was told of the run, or of its tests, no longer holds. */
  reset({ service }: Topic): void {
    if (service === 'job-status') {
      this.#runs = [];
      this.#run = undefined;
      this.#runKey = '';
      return;
    }
    this.#changes = [];
    this.#latest.clear();
    this.#counts = {};
    this.#tests = new Tests();
    this.#testsKey = keyOf(null);
  }

  /** Looks whether there is something to tell, now or later. */
  touch(): void {
    const isHeld = this.#runs[0] || this.#changes[0];
    if (isHeld && !this.#isLoading()) {
      this.#hold ??= setTimeout(() => {
        this.#showAll();
        this.#holdMs = VAIN_HOLD_MS;
      }, this.#holdMs);
    } else if (isHeld || this.snapshot?.isLoading) this.#batch ??= setTimeout(this.#tell, BATCH_MS);
  }

  /** Tells all that there is. */
  flush(): void {
    if (this.#runs[0] || this.#changes[0]) this.#showAll();
    if (this.#batch) this.#tell();
  }

  close(): void {
    clearTimeout(this.#hold);
    clearTimeout(this.#batch);
  }

  readonly #tell = (): void => {
    const isLoading = this.#isLoading();
    if (isLoading) this.#showAll();
    clearTimeout(this.#batch);
    this.#batch = undefined;
    if (!this.#run) return;
    const isConsistent = this.#runKey === this.#testsKey;
    this.snapshot = { run: this.#run, tests: this.#tests, isLoading, isConsistent };
    this.#emit(this.snapshot);
  };

  #showAll(): void {
    this.#show(this.#changes.length, this.#runs.length);
  }

  #show(changes: number, runs: number): void {
    const changed = this.#changes.splice(0, changes);
    this.#tests = this.#tests.with(changed.map(([test]) => test));
    this.#testsKey = changed.at(-1)?.[1] ?? this.#testsKey;
    [this.#run, this.#runKey] = this.#runs.splice(0, runs).at(-1) ?? [this.#run, this.#runKey];
    clearTimeout(this.#hold);
    this.#hold = undefined;
    this.#holdMs = HOLD_MS;
    this.#batch ??= setTimeout(this.#tell, BATCH_MS);
  }

  #count(test: TestState | undefined, by: number): void {
    if (!test) return;
    const names = test.flaky ? [test.status, 'flaky'] : [test.status];
    for (const name of names as (keyof Counts)[]) this.#counts[name] = (this.#counts[name] ?? 0) + by;
  }
}
