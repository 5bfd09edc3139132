// A process that sends, and ends by itself: node ends.mjs naturally|at-once|thrown
import { createReporter } from 'runcast-reporter';

const [how] = process.argv.slice(2);
const reporter = createReporter();
const id = process.env.RUNCAST_RUN_ID;
reporter.send({ kind: 'job', id, status: 'running' });
reporter.send({ kind: 'job', id, status: 'passed' });
if (how === 'at-once') process.exit(0);
if (how === 'thrown') throw new Error('it broke');
