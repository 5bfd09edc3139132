// A service with a BullMQ worker: one job ends well, with progress; one breaks at both attempts.
// usage: node service.mjs REDIS_URL QUEUE

import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const [url, name] = process.argv.slice(2);
const connection = new Redis(url, { maxRetriesPerRequest: null });
const queue = new Queue(name, { connection });
await queue.add('import', { parts: 3 }, { jobId: 'good' });
await queue.add('import', { parts: 0 }, { jobId: 'bad', attempts: 2 });

let ended = 0;
const worker = new Worker(
  name,
  async (job) => {
    if (job.data.parts === 0) throw new Error('nothing to import');
    for (let completed = 1; completed <= job.data.parts; completed += 1) {
      await job.updateProgress({ completed, total: job.data.parts, message: 'importing' });
    }
    return 'imported';
  },
  { connection },
);
const end = () => {
  ended += 1;
  if (ended === 3) process.exit(0);
};
worker.on('completed', end).on('failed', end);
