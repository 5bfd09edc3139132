// Sends a file of updates, for a process that ends: node leave.js FILE. Exits with 0 once all are taken.

import fs from 'node:fs';
import { Delivery } from './delivery.ts';
import { targetOf } from './options.ts';
import { Queue } from './queue.ts';

const [file = ''] = process.argv.slice(2);
const target = targetOf({});
if ('why' in target) process.exit(1);
const delivery = new Delivery(target, () => {});
const queue = new Queue();
for (const line of fs.readFileSync(file, 'utf8').split('\n')) if (line) queue.push(line, false);
// No socket keeps a process.
const held = setInterval(() => {}, 1000);
while (queue.size > 0) await delivery.deliver(queue.take());
fs.rmSync(file, { force: true });
clearInterval(held);
