// Takes the pictures of the documentation: `node screenshots.mjs docs`, with a stack of its own. Look at them.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { launch } from './chromium.mjs';

const docs = process.argv[2];
const folder = `${docs}/dashboard`;
const checkout = fileURLToPath(new URL('../..', import.meta.url));
const variables = { QUEUE_NAMES: 'runs', RUNNING_CAPACITY: '4', QUEUED_CAPACITY: '8' };
const stack = spawn(`${checkout}/target/debug/runcast`, ['up', '--port', '0'], {
  env: { ...process.env, ...variables },
  stdio: ['pipe', 'pipe', 'ignore'],
});
const [line] = await Promise.race([once(createInterface({ input: stack.stdout })), ended()]);
const { url } = JSON.parse(line);
const browser = await launch();
try {
  const page = await open({ width: 1280, height: 980 }, 'dark');
  await page.getByText('No run is in progress').waitFor();
  await shoot(page, 'empty');

  // One scene to be finished, one to be seen.
  await fetch(`${url}/_local/scene`, { method: 'POST' });
  await page.locator('#finished li:nth-child(7)').waitFor({ timeout: 120_000 });
  await fetch(`${url}/_local/scene`, { method: 'POST' });
  const light = await open({ width: 1280, height: 980 }, 'light');
  const phone = await open({ width: 360, height: 780 }, 'dark');
  const run = await open({ width: 1280, height: 980 }, 'light', await runOf(page, 'API regression'));
  await page.locator('#running [data-status=failed]').first().waitFor({ timeout: 60_000 });
  await page.screenshot({ path: `${docs}/dashboard.png` });
  await shoot(light, 'light');
  await shoot(phone, 'phone');
  await shoot(run, 'run');

  await page.getByRole('button', { name: 'Break Redis' }).click();
  await page.getByText('Redis is killed').waitFor();
  await setTimeout(3000);
  await shoot(page, 'redis-broken');
} finally {
  await browser.close();
  stack.kill('SIGINT');
}

async function open(viewport, colorScheme, path = '/') {
  const context = await browser.newContext({ viewport, colorScheme, reducedMotion: 'reduce' });
  const page = await context.newPage();
  await page.goto(`${url}${path}`);
  return page;
}

async function runOf(page, job) {
  const link = page.locator('#running a', { hasText: job });
  await link.waitFor();
  return `/${await link.getAttribute('href')}`;
}

async function shoot(page, name) {
  await page.screenshot({ path: `${folder}/${name}.png` });
}

function once(lines) {
  return new Promise((resolve) => lines.once('line', (line) => resolve([line])));
}

async function ended() {
  await new Promise((resolve) => stack.once('exit', resolve));
  throw new Error('the stack did not start');
}
