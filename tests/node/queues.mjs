// Drives BullMQ for the tests: a JSON command in on each line, a JSON answer out.
// usage: node queues.mjs REDIS_URL PREFIX

import { createInterface } from 'node:readline';
import { Queue, Worker } from 'bullmq';
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
  add: ({ queue }) => queue.add('job', {}),
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
  async remove({ queue }) {
    const [job] = await queue.getJobs(['waiting', 'delayed', 'prioritized'], 0, 0);
    await job.remove();
  },
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
