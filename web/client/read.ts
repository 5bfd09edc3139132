import { internals } from './client.ts';
import { failureOf, type Refusal, RuncastError } from './error.ts';
import { ask, refusalOf } from './request.ts';
import type { Artifact, JobState, RunHistory, RunsPage } from './schema.ts';
import type { Client, ReadOptions, RunHistoryQuery, RunsQuery } from './types.ts';

/**
 * A project's runs, past ones, too: first those not finished, then those that ended last. Where much is searched, a page
 * may be empty, and have a `next`.
 */
export function listRuns(client: Client, { signal, ...query }: RunsQuery): Promise<RunsPage> {
  return read(client, `/api/runs?${textOf(query)}`, signal);
}

/** A run as it is now, or as it ended. */
export function readRun(client: Client, runId: string, { signal }: ReadOptions = {}): Promise<JobState> {
  return read(client, `/api/runs/${encodeURIComponent(runId)}`, signal);
}

/** The events of a run, from the first that the log still has. */
export function readRunHistory(
  client: Client,
  runId: string,
  { signal, after }: RunHistoryQuery = {},
): Promise<RunHistory> {
  return read(client, `/api/runs/${encodeURIComponent(runId)}?${textOf({ history: true, after })}`, signal);
}

/**
 * What a test left in S3 (its `s3Url`): a URL that anyone can read, until it expires. 404 where it left nothing there, or
 * not in the operator's bucket.
 */
export function readTestArtifact(
  client: Client,
  testId: string,
  { signal }: ReadOptions = {},
): Promise<Artifact> {
  return read(client, `/api/test-status/artifacts/${encodeURIComponent(testId)}`, signal);
}

/** Throws a {@link RuncastError} where there is no answer (status 0), or another than what was asked for. */
async function read<T>(client: Client, path: string, signal: AbortSignal | undefined): Promise<T> {
  const inside = internals.get(client);
  if (!inside) throw new TypeError('This is no client of createClient().');
  let refusal: Refusal;
  try {
    const headers = { accept: 'application/json' };
    const [response] = await ask(inside.settings, path, headers, 'no-cache', () => signal ?? null);
    if (response.ok) return await response.json();
    refusal = await refusalOf(response);
  } catch (error) {
    signal?.throwIfAborted();
    refusal = failureOf(error);
  }
  inside.warn(refusal);
  throw new RuncastError(refusal);
}

function textOf(query: object): string {
  const values = Object.entries(query).flatMap(([name, value]) => [value].flat().map((each) => [name, each]));
  return `${new URLSearchParams(values.filter(([, value]) => value !== undefined) as string[][])}`;
}
