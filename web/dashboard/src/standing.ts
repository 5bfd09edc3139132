import { isTerminal, type TestCounts, type TestState } from 'runcast-client';
import { plain } from './error-text.tsx';

/** Where a test stands, for whoever looks for what went wrong. */
export type Standing = 'failed' | 'running' | 'flaky' | 'cancelled' | 'waiting' | 'skipped' | 'passed';

/** In the order in which they are looked at. */
export const STANDINGS: readonly Standing[] = [
  'failed',
  'running',
  'flaky',
  'cancelled',
  'waiting',
  'skipped',
  'passed',
];

export function standingOf({ status, flaky }: TestState): Standing {
  switch (status) {
    case 'failed':
    case 'error':
      return 'failed';
    case 'passed':
    case 'completed':
      return flaky ? 'flaky' : 'passed';
    default:
      return status in WORDS ? status : 'running';
  }
}

export const WORDS: Record<Standing, string> = {
  failed: 'Failed',
  running: 'Running',
  flaky: 'Flaky',
  cancelled: 'Cancelled',
  waiting: 'Waiting',
  skipped: 'Skipped',
  passed: 'Passed',
};

/** How many stand where: together as many as there are. */
export function countsOf(tests: TestCounts | null): Record<Standing, number> {
  const { failed = 0, error = 0, passed = 0, completed = 0, flaky = 0 } = tests ?? {};
  const { running = 0, cancelled = 0, waiting = 0, skipped = 0 } = tests ?? {};
  const isFlaky = Math.min(flaky, passed + completed);
  return {
    failed: failed + error,
    running,
    flaky: isFlaky,
    cancelled,
    waiting,
    skipped,
    passed: passed + completed - isFlaky,
  };
}

/** What a test is called. Without a name, its id without the run's, where it is named after it. */
export function titleOf({ name, testId, runId }: TestState): string {
  if (name) return name;
  const isAfterRun = runId && testId.startsWith(runId) && /^[-_]./.test(testId.slice(runId.length));
  return isAfterRun ? testId.slice(runId.length + 1) : testId;
}

/** Where it stands in the code. */
export const placeOf = ({ file, line }: TestState): string => [file, line].filter(Boolean).join(':');

const texts = new WeakMap<TestState, string>();

/** What it is searched by. */
export function textOf(test: TestState): string {
  const known = texts.get(test);
  if (known !== undefined) return known;
  const { testId, name, suite, file, error, labels } = test;
  const parts = [testId, name, suite, file, error && plain(error), ...Object.values(labels ?? {})];
  const text = parts.filter(Boolean).join('\n').toLowerCase();
  texts.set(test, text);
  return text;
}

/** How long it took, or takes by now, in milliseconds. */
export function tookOf({ durationMs, status, startedAt }: TestState, now: number): number {
  if (durationMs !== null) return durationMs;
  return startedAt && !isTerminal(status) ? now - Date.parse(startedAt) : 0;
}
