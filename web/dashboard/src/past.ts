import { type Client, type JobState, listRuns } from 'runcast-client';

/** The runs of a project as the log has them: those that go on, and those that ended last. */
export async function readRuns(
  client: Client,
  projectId: string,
  signal: AbortSignal,
): Promise<readonly JobState[]> {
  const { runs } = await listRuns(client, { projectId, limit: 200, signal });
  return runs;
}
