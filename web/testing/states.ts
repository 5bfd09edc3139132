import type { JobState, QueueStats, TestState } from '../client/index.ts';

/** A job run's state; what is not given is as the server has it of a run that nobody has reported. */
export const jobState = (given: Partial<JobState> & Pick<JobState, 'runId'>): JobState => ({
  kind: 'job',
  jobId: null,
  name: null,
  url: null,
  labels: null,
  rerunOf: null,
  status: 'waiting',
  seq: 0,
  attempt: 1,
  attempts: [],
  flaky: false,
  stale: false,
  deadlineAt: null,
  progress: null,
  tests: null,
  shards: null,
  duration: null,
  durationMs: null,
  startedAt: null,
  completedAt: null,
  errorDetails: null,
  artifactPaths: null,
  occurredAt: null,
  ...given,
});

/** A test's state; what is not given is as the server has it of a test that nobody has reported. */
export const testState = (given: Partial<TestState> & Pick<TestState, 'testId'>): TestState => ({
  kind: 'test',
  runId: null,
  name: null,
  suite: null,
  file: null,
  line: null,
  url: null,
  labels: null,
  status: 'waiting',
  seq: 0,
  attempt: 1,
  attempts: [],
  flaky: false,
  stale: false,
  deadlineAt: null,
  progress: null,
  duration: null,
  durationMs: null,
  startedAt: null,
  completedAt: null,
  reportPath: null,
  s3Url: null,
  error: null,
  occurredAt: null,
  ...given,
});

/** Statistics of no queue, but for what is given. */
export const queueStats = (given: Partial<QueueStats> = {}): QueueStats => ({
  running: 0,
  runningCapacity: 5,
  queued: 0,
  queuedCapacity: 50,
  queues: {},
  ...given,
});
