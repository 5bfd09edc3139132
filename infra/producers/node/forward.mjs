// Forwards the life of a BullMQ queue's jobs to Runcast: each job is a job run, named by `runId` below. What BullMQ
// tries again, what is retried after its end, and what is added anew with the same id is the run's next attempt; a job
// that is removed before its end is cancelled, however it went. An event that is sent twice counts once.
// REDIS_URL is BullMQ's; RUNCAST_URL names a local stack (`runcast up`), on AWS leave it out.
// usage: node forward.mjs QUEUE ORGANIZATION PROJECT

import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';

const [name, organizationId, projectId] = process.argv.slice(2);
const FunctionName = process.env.RUNCAST_WORKER ?? 'worker';
const lambda = new LambdaClient({ endpoint: process.env.RUNCAST_URL });
const connection = new Redis(process.env.REDIS_URL, { maxRetriesPerRequest: null });
const queue = new Queue(name, { connection, skipMetasUpdate: true });

// What it knows after a restart: how far it came, the runs that have not ended, the attempts of the last that have.
const keys = {};
for (const key of ['forwarded', 'open', 'ended']) keys[key] = `runcast:${key}:${name}`;
let position = await connection.get(keys.forwarded);
if (!position) await connection.del(keys.open, keys.ended);
position ??= '0-0';
const open = new Map();
const ended = new Map(Object.entries(await connection.hgetall(keys.ended)));
for (const [jobId, run] of Object.entries(await connection.hgetall(keys.open))) open.set(jobId, JSON.parse(run));
let changes = connection.multi();
let looking = open.entries();

for (let lookAt = 0; ; ) {
  await forward(await read('BLOCK', 1000));
  if (Date.now() < lookAt) continue;
  await endWhatIsGone();
  lookAt = Date.now() + 1000;
}

async function read(...patience) {
  const found = await connection.xread('COUNT', 100, ...patience, 'STREAMS', queue.toKey('events'), position);
  return found?.[0][1] ?? [];
}

async function forward(events) {
  if (events.length === 0) return;
  const updates = [];
  for (const [streamId, fields] of events) {
    const told = {};
    for (let at = 0; at < fields.length; at += 2) told[fields[at]] = fields[at + 1];
    const update = await updateOf(told);
    const occurredAt = new Date(Number.parseInt(streamId, 10)).toISOString();
    if (update) updates.push({ occurredAt, ...update, ...named(told.jobId, `${told.event}-${streamId}`) });
    position = streamId;
  }
  await send(updates);
}

// What an event of BullMQ says of a run, where it says something. (`stalled` comes after a `waiting` that says it all.)
async function updateOf({ event, jobId, prev, data, failedReason }) {
  const run = open.get(jobId);
  switch (event) {
    case 'added':
      begin(jobId, 0);
      return undefined;
    case 'waiting':
    case 'waiting-children':
    case 'delayed':
    case 'active': {
      const isAgain = prev === 'failed' || prev === 'completed';
      const goesOn = run && !isAgain;
      const job = !goesOn || (run.active && event !== 'active') ? await queue.getJob(jobId) : undefined;
      // BullMQ has no event for an attempt that failed and is tried again.
      if (goesOn && job && run.before + job.attemptsMade >= run.attempt) {
        keep(jobId, { ...run, attempt: run.attempt + 1, active: false });
        return { status: 'failed', attempt: run.attempt, willRetry: true, errorDetails: cut(job.failedReason) };
      }
      const { before, attempt } = goesOn ? run : begin(jobId, job?.attemptsMade ?? 0, isAgain);
      keep(jobId, { before, attempt, active: event === 'active' });
      return { status: event === 'waiting-children' ? 'waiting' : event, attempt };
    }
    case 'progress':
      return run && { status: run.active ? 'active' : 'waiting', attempt: run.attempt, progress: progressOf(data) };
    case 'completed':
    case 'failed':
      return end(jobId, event, failedReason);
    case 'removed':
      return run && end(jobId, 'cancelled');
  }
}

// `before` are the attempts that BullMQ does not count (any more).
function begin(jobId, attemptsMade, isAgain) {
  const last = open.get(jobId)?.attempt ?? Number(ended.get(jobId) ?? 0);
  const attempt = last ? last + 1 : Math.max(attemptsMade + 1, isAgain ? 2 : 1);
  return keep(jobId, { before: attempt - 1 - attemptsMade, attempt, active: false });
}

function keep(jobId, run) {
  open.set(jobId, run);
  changes.hset(keys.open, jobId, JSON.stringify(run));
  return run;
}

function end(jobId, status, failedReason) {
  const attempt = open.get(jobId)?.attempt;
  open.delete(jobId);
  changes.hdel(keys.open, jobId);
  const last = attempt ?? ended.get(jobId) ?? 1;
  // Those that ended last stand last.
  ended.delete(jobId);
  ended.set(jobId, last);
  changes.hset(keys.ended, jobId, last);
  if (ended.size > 10_000) {
    const [oldest] = ended.keys();
    ended.delete(oldest);
    changes.hdel(keys.ended, oldest);
  }
  return { status, attempt, errorDetails: cut(failedReason) };
}

// `drain`, `clean` and `obliterate` do not say which jobs they remove, and events that BullMQ has trimmed say nothing:
// so it looks after the open ones, some at a time. A job that no list has any more is there for BullMQ, and here, until
// `queue.removeOrphanedJobs()`.
async function endWhatIsGone() {
  const looked = [];
  while (looked.length < 250) {
    const { value, done } = looking.next();
    if (done) break;
    looked.push(value);
  }
  if (looked.length < 250) looking = open.entries();
  if (looked.length === 0) return;
  const questions = connection.pipeline();
  for (const [jobId] of looked) {
    questions.exists(queue.toKey(jobId));
    for (const state of ['completed', 'failed']) questions.zscore(queue.toKey(state), jobId);
  }
  const answers = (await questions.exec()).map(([, answer]) => answer);
  const gone = [];
  for (const [index, [jobId, run]] of looked.entries()) {
    const [exists, completed, failed] = answers.slice(3 * index);
    const status = completed ? 'completed' : failed ? 'failed' : exists ? undefined : 'cancelled';
    if (status) gone.push({ jobId, run, status });
  }
  if (gone.length === 0) return;
  // Their end may be among the events that are still to be read.
  for (let events = await read(); events.length > 0; events = await read()) await forward(events);
  const updates = [];
  for (const { jobId, run, status } of gone) {
    if (open.get(jobId) !== run) continue;
    const job = status === 'failed' ? await queue.getJob(jobId) : undefined;
    updates.push({ ...end(jobId, status, job?.failedReason), ...named(jobId, `gone-${run.attempt}`) });
  }
  await send(updates);
}

function named(jobId, event) {
  const id = runId(name, jobId);
  return { kind: 'job', id, organizationId, projectId, eventId: fit(`${id}-${event}`, 128) };
}

// `<queue>-<job id>`, with `_` and two hex digits for each byte that no id may hold, and for `_` itself: `a_b` is
// `a_5fb`, `a:b` is `a_3ab`. In the queue's name `-` is `_2d`, since the first one ends it. So no two jobs are one run.
function runId(queue, jobId) {
  const hex = (character) => Buffer.from(character).toString('hex').replace(/../g, '_$&');
  const escape = (text, what) => text.replace(what, hex);
  return fit(`${escape(queue, /[^A-Za-z0-9]/gu)}-${escape(jobId, /[^A-Za-z0-9-]/gu)}`, 123);
}

// What is too long is told by its hash: it has the full length, which nothing else has.
function fit(text, length) {
  const hash = createHash('sha256').update(text).digest('hex');
  return text.length < length ? text : `${text.slice(0, length - hash.length - 1)}-${hash}`;
}

// BullMQ takes any JSON.
function progressOf(data) {
  const told = JSON.parse(data);
  const counted = typeof told === 'number' ? { completed: Math.round(told), total: 100 } : told;
  const { completed, total, message } = counted ?? {};
  return Number.isFinite(completed) ? { completed, total, message: cut(message) } : undefined;
}

// A hundred of them are to fit into an invocation.
function cut(text) {
  return typeof text === 'string' ? text.slice(0, 20_000) : undefined;
}

// Sends until they have arrived, and only then writes down how far it came.
async function send(updates) {
  const Payload = JSON.stringify({ updates });
  for (let isSent = updates.length === 0; !isSent; ) {
    const answer = await lambda.send(new InvokeCommand({ FunctionName, Payload })).catch((error) => error);
    isSent = answer.StatusCode === 200 && !answer.FunctionError;
    if (isSent) {
      const { rejected } = JSON.parse(Buffer.from(answer.Payload));
      for (const { index, reason } of rejected) console.error('refused:', updates[index].id, reason);
    } else {
      console.error('not sent yet:', answer.message ?? answer.FunctionError);
      await sleep(1000);
    }
  }
  await changes.set(keys.forwarded, position).exec();
  changes = connection.multi();
}
