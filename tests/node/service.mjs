// A service with a BullMQ worker: one job ends well, with progress; one breaks at both attempts; one has an id as of a
// job scheduler, and progress that is not Runcast's.
// usage: node service.mjs REDIS_URL QUEUE

import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const [url, name] = process.argv.slice(2);
const connection = new Redis(url, { maxRetriesPerRequest: null });
const queue = new Queue(name, { connection });
await queue.add('import', { parts: 3 }, { jobId: 'good' });
await queue.add('import', { parts: 0 }, { jobId: 'bad', attempts: 2 });
await queue.add('import', { parts: 'all' }, { jobId: 'repeat:nightly:1' });

let ended = 0;
const worker = new Worker(
  name,
  async (job) => {
    if (job.data.parts === 0) throw new Error('nothing to import');
    if (job.data.parts === 'all') await job.updateProgress('all of them');
    for (let completed = 1; completed <= job.data.parts; completed += 1) {
      await job.updateProgress({ completed, total: job.data.parts, message: 'importing' });
    }
    return 'imported';
  },
  { connection },
);
const end = () => {
  ended += 1;
  if (ended === 4) process.exit(0);
};
worker.on('completed', end).on('failed', end);
