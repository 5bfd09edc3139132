export { type Identity, identityOf } from './identity.ts';
export type { ReporterOptions } from './options.ts';
export { createReporter, type Reporter } from './reporter.ts';
export { type Ended, ReportedTest, type TestFacts, TestRun } from './run.ts';
export type { Shard, Status, Update } from './update.ts';
