// Drives BullMQ for the tests: a JSON command in on each line, a JSON answer out.
// usage: node queues.mjs REDIS_URL PREFIX

import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { FlowProducer, Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const [url, prefix] = process.argv.slice(2);
const connection = new Redis(url, { maxRetriesPerRequest: null });
// Without its default types, which leave `paused` out.
const types = ['active', 'completed', 'delayed', 'failed', 'paused', 'prioritized', 'waiting'];
const queues = new Map();

function of(name) {
  if (!queues.has(name)) {
    const queue = new Queue(name, { connection, prefix });
    // Works by hand: it takes a job only when told to.
    const worker = new Worker(name, null, { connection, prefix });
    queues.set(name, { queue, worker, taken: [], failed: [] });
  }
  return queues.get(name);
}

const commands = {
  count: () => {},
  add: ({ queue }, { options }) => queue.add('job', {}, options),
  bulk: ({ queue }) => queue.addBulk([1, 2, 3, 4].map((data) => ({ name: 'job', data }))),
  // A job that waits for another.
  async flow({ queue }) {
    const job = (jobId) => ({ name: 'job', queueName: queue.name, opts: { jobId } });
    const flows = new FlowProducer({ connection, prefix });
    await flows.add({ ...job('parent'), children: [job('child')] });
  },
  delay: ({ queue }) => queue.add('job', {}, { delay: 3_600_000 }),
  prioritize: ({ queue }) => queue.add('job', {}, { priority: 3 }),
  pause: ({ queue }) => queue.pause(),
  resume: ({ queue }) => queue.resume(),
  async take({ worker, taken }) {
    const job = await worker.getNextJob('token', { block: false });
    if (!job) throw new Error('there is no job to take');
    taken.push(job);
  },
  complete: ({ taken }) => taken.shift().moveToCompleted('done', 'token', false),
  async fail({ taken, failed }) {
    const job = taken.shift();
    await job.moveToFailed(new Error('it broke'), 'token', false);
    failed.push(job);
  },
  retry: ({ failed }) => failed.shift().retry('failed'),
  'retry all': ({ queue }) => queue.retryJobs(),
  async promote({ queue }) {
    const [job] = await queue.getJobs(['delayed'], 0, 0);
    await job.promote();
  },
  // As a worker does whose service says that it is asked too often.
  async limit({ queue, taken }) {
    await queue.rateLimit(3_600_000);
    await taken.shift().moveToWait('token');
  },
  lift: ({ queue }) => queue.removeRateLimitKey(),
  // A worker takes a job and is not heard of again …
  async die({ queue }) {
    const dead = new Worker(queue.name, null, { connection, prefix, lockDuration: 50 });
    await dead.getNextJob('dead', { block: false });
    await dead.close();
  },
  // … which another one finds out.
  async stall({ queue }) {
    const other = new Worker(queue.name, null, { connection, prefix, stalledInterval: 100 });
    const found = once(other, 'stalled');
    await other.startStalledCheckTimer();
    await found;
    await other.close();
  },
  async remove({ queue }) {
    const [job] = await queue.getJobs(['waiting', 'delayed', 'prioritized'], 0, 0);
    await job.remove();
  },
  clean: ({ queue }, { state = 'completed' }) => queue.clean(0, 0, state),
  drain: ({ queue }) => queue.drain(true),
  obliterate: ({ queue }) => queue.obliterate({ force: true }),
  async flood({ queue }, { milliseconds }) {
    for (const began = Date.now(); Date.now() - began < milliseconds; ) {
      await queue.add('job', {});
    }
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  const target = of(command.queue);
  await commands[command.do](target, command);
  console.log(JSON.stringify(await target.queue.getJobCounts(...types)));
}
process.exit(0);
