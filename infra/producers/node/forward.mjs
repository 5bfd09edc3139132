// Forwards the life of a BullMQ queue's jobs to Runcast: each job is a job run, `<queue>-<job id>`,
// with `_` for what no id may hold: a job scheduler's ids are `repeat:<its id>:<milliseconds>`.
// An event that is sent twice counts once. A job retried after its end is refused: add it anew.
// REDIS_URL is BullMQ's; RUNCAST_URL names a local stack (`runcast up`), on AWS leave it out.
// usage: node forward.mjs QUEUE ORGANIZATION PROJECT

import { setTimeout as sleep } from 'node:timers/promises';
import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
import { QueueEvents } from 'bullmq';
import { Redis } from 'ioredis';

const [queue, organizationId, projectId] = process.argv.slice(2);
const FunctionName = process.env.RUNCAST_WORKER ?? 'worker';
const lambda = new LambdaClient({ endpoint: process.env.RUNCAST_URL });
const connection = new Redis(process.env.REDIS_URL, { maxRetriesPerRequest: null });
// Where it goes on after a restart.
const position = `runcast:forwarded:${queue}`;
const lastEventId = (await connection.get(position)) ?? '0-0';
const events = new QueueEvents(queue, { connection, lastEventId });
let last = Promise.resolve();

for (const event of ['waiting', 'delayed', 'active', 'progress', 'completed', 'failed']) {
  events.on(event, ({ jobId, data, failedReason }, streamId) => {
    const id = `${queue}-${jobId}`.replace(/[^A-Za-z0-9_-]/g, '_');
    const eventId = `${id}-${event}-${streamId}`;
    const status = event === 'progress' ? 'running' : event;
    const told = typeof data === 'number' ? { completed: Math.round(data), total: 100 } : data;
    // BullMQ takes any JSON.
    const progress = Number.isFinite(told?.completed) ? told : undefined;
    const occurredAt = new Date(Number.parseInt(streamId, 10)).toISOString();
    const update = { eventId, kind: 'job', id, organizationId, projectId, status, occurredAt,
      progress, errorDetails: failedReason };
    last = last.then(() => send(update)).then(() => connection.set(position, streamId));
  });
}

async function send(update) {
  const Payload = JSON.stringify({ updates: [update] });
  const answer = await lambda.send(new InvokeCommand({ FunctionName, Payload })).catch((e) => e);
  if (answer.StatusCode === 200 && !answer.FunctionError) {
    const { rejected } = JSON.parse(Buffer.from(answer.Payload));
    for (const { reason } of rejected) console.error('refused:', update.id, reason);
    return;
  }
  console.error('not sent yet:', answer.message ?? answer.FunctionError);
  await sleep(1000).then(() => send(update));
}
