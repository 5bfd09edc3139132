// Takes the pictures of the documentation: `node screenshots.mjs docs`, with a stack of its own. Look at them.

import { setTimeout } from 'node:timers/promises';
import { shows, world } from './world.mjs';

const docs = process.argv[2];
const folder = `${docs}/dashboard`;
const DESK = { width: 1280, height: 900 };
const here = await world({ QUEUE_NAMES: 'runs', RUNNING_CAPACITY: '4', QUEUED_CAPACITY: '10' });

try {
  const page = await open(DESK, 'dark');
  await shows(page, 'main', 'No run yet');
  await shoot(page, 'empty');

  // One scene to be finished, one to be seen.
  await here.press('/_local/scene');
  await page.locator('#finished li:nth-child(7)').waitFor({ timeout: 120_000 });
  await here.press('/_local/scene');
  const light = await open(DESK, 'light');
  const phone = await open({ width: 360, height: 780 }, 'dark');
  // It knows of the outage, too.
  const queues = await here.open('/#/queues', { beside: page });
  await page.locator('#running [data-status=failed]').first().waitFor({ timeout: 60_000 });
  await page.screenshot({ path: `${docs}/dashboard.png` });
  await shoot(light, 'light');
  await shoot(phone, 'phone');

  await report();
  const run = await open(DESK, 'light', '/#/runs/e2e-4711');
  await shows(run, '#tests', 'Failed');
  await shoot(run, 'run');
  const test = await open(DESK, 'dark', '/#/runs/e2e-4711/tests/e2e-4711_16');
  await shows(test, 'aside', 'Expected: 200');
  await test.locator('aside').scrollIntoViewIfNeeded();
  await shoot(test, 'test');
  const timeline = await open(DESK, 'light', '/#/runs/e2e-4711?view=timeline');
  await shows(timeline, 'main', 'What took longest');
  await shoot(timeline, 'timeline');
  const small = await open({ width: 360, height: 780 }, 'light', '/#/runs/e2e-4711');
  await shows(small, '#tests', 'Failed');
  await shoot(small, 'phone-run');

  // When the scene before is over.
  while ((await here.press('/_local/scene')).status !== 202) await setTimeout(500);
  await shows(page, '#running', 'Visual differences', 'of 1');
  await page.getByRole('button', { name: 'Break Redis' }).click();
  await shows(page, '#fault', 'Redis is killed');
  await setTimeout(4000);
  await shoot(page, 'redis-broken');
  await shows(page, '#fault', 'No event was lost');
  await shoot(page, 'redis-back');
  // The plot has a gap where nothing was known.
  await setTimeout(2000);
  await shoot(queues, 'queues');
} finally {
  await here.close();
}

function open(viewport, colorScheme, path = '/') {
  return here.open(path, { viewport, colorScheme });
}

async function shoot(page, name) {
  await page.bringToFront();
  // Toasts come and go.
  await page.addStyleTag({ content: '[data-sonner-toaster] { visibility: hidden }' });
  await page.screenshot({ path: `${folder}/${name}.png` });
}

/** What Playwright writes to a terminal. */
function errorAt(file, line) {
  const colour = (code, text) => `\u001b[${code}m${text}\u001b[39m`;
  const dim = (text) => `\u001b[2m${text}\u001b[22m`;
  return [
    `Error: ${dim('expect(')}${colour(31, 'received')}${dim(').')}toBe${dim('(')}${colour(32, 'expected')}${dim(')')}`,
    '',
    `Expected: ${colour(32, 200)}`,
    `Received: ${colour(31, 503)}`,
    '',
    `  ${line - 1} |   ${colour(36, 'const')} answer = ${colour(36, 'await')} checkout.pay(card);`,
    `${colour(31, '>')} ${line} |   expect(answer.status).toBe(${colour(35, 200)});`,
    `     |                         ${colour(31, '^')}`,
    '',
    `    at ${file}:${line}:27`,
  ].join('\n');
}

/** A run as a reporter tells it: in three shards, with retries, failures, and what they left. */
async function report() {
  const run = 'e2e-4711';
  const began = Date.now() - 100_000;
  const at = (ms) => new Date(began + ms).toISOString();
  const facts = {
    kind: 'job',
    id: run,
    name: 'Checkout, end to end',
    jobId: 'e2e',
    startedAt: at(0),
    labels: { branch: 'feat/one-click', commit: '8c1d2e0', pr: '482' },
    url: 'https://github.com/acme/shop/actions/runs/4711',
    rerunOf: 'e2e-4709',
    artifactPaths: ['https://ci.example.com/4711/trace.zip', 's3://acme/4711/report.html'],
  };
  const files = {
    cart: ['adds up', 'keeps what was in it', 'applies a coupon', 'takes one out'],
    payment: ['a guest pays', 'a declined card is told', 'a double click pays once', 'a gift card'],
    login: ['with a password', 'over SSO', 'with a passkey', 'is kept'],
    search: ['forgives typos', 'knows synonyms', 'filters by price', 'says that there is nothing'],
  };
  const tests = Object.entries(files).flatMap(([file, names]) =>
    names.flatMap((name, index) =>
      ['chromium', 'firefox', 'webkit'].map((browser) => ({ file, name, browser, line: 14 * index + 9 })),
    ),
  );
  await here.send([
    { ...facts, status: 'running' },
    { kind: 'job', id: run, status: 'running', shard: { index: 1, total: 3 } },
  ]);
  const updates = tests.flatMap(({ file, name, browser, line }, index) => {
    const test = {
      kind: 'test',
      id: `${run}_${index}`,
      runId: run,
      name: `${name} (${browser})`,
      suite: file,
      file: `e2e/${file}.spec.ts`,
      line,
      labels: { ...facts.labels, shard: `${(index % 3) + 1}/3`, worker: `${Math.floor(index / 3) % 2}` },
    };
    const from = Math.floor(index / 3) * 6_000 + (index % 3) * 700;
    const durationMs = 1_800 + ((index * 1_777) % 4_000);
    const times = { startedAt: at(from), durationMs };
    if (index % 16 === 0 && index)
      return [
        {
          ...test,
          ...times,
          status: 'failed',
          reportPath: 'https://ci.example.com/4711/index.html',
          s3Url: `s3://acme/4711/${index}/trace.zip`,
          error: errorAt(`e2e/${file}.spec.ts`, line + 4),
        },
      ];
    if (index % 13 === 5)
      return [
        {
          ...test,
          startedAt: at(from),
          status: 'failed',
          willRetry: true,
          durationMs: 900,
          error: 'TimeoutError: locator.click: Timeout 5000 ms exceeded.',
        },
        { ...test, ...times, startedAt: at(from + 900), status: 'passed' },
      ];
    if (index % 17 === 9) return [{ ...test, status: 'skipped' }];
    if (index > 44) return [{ ...test, status: index > 46 ? 'waiting' : 'running' }];
    return [{ ...test, ...times, status: 'passed' }];
  });
  await here.send(updates);
}
