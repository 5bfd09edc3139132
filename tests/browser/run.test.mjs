// One run, as the dashboard shows it.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { eventually, shows, world } from './world.mjs';

const here = await world();
after(() => here.close());

test('a run that is retried says so, and what was flaky', async () => {
  await here.job('retried', 'running', { name: 'Checkout' });
  const login = { kind: 'test', id: 'retried-t1', runId: 'retried', name: 'logs in', file: 'login.spec.ts' };
  await here.send([
    { ...login, status: 'running' },
    { ...login, status: 'failed', error: 'expected 200, got 503\n  at login.spec.ts:9', willRetry: true },
  ]);
  const page = await here.open('/#/runs/retried');
  await shows(page, '#tests', 'logs in', '2nd attempt', 'expected 200, got 503');
  await here.send([{ ...login, status: 'passed' }]);
  await shows(page, '#tests', 'Flaky', 'logs in', 'flaky');
  await shows(page, 'main', '1 test: 1 flaky');
  await here.job('retried', 'failed', { errorDetails: 'the server went away' });
  await shows(page, 'main', 'failed', 'the server went away');
  await here.job('retried', 'running', { attempt: 2 });
  await here.job('retried', 'passed');
  await shows(page, 'main', 'passed', '2nd attempt', 'The attempt before');
  // The attempts of a test, on its own page.
  await page.locator('#tests a', { hasText: 'logs in' }).click();
  await shows(page, 'aside', 'logs in', 'The attempt before', '1st', 'expected 200');
  assert.match(await page.evaluate('location.href'), /#\/runs\/retried\/tests\/retried-t1$/);
});

test('a page whose run has ended hears of its next attempt, and of what it left', async () => {
  await here.job('over', 'failed', { name: 'Release' });
  await here.send([{ kind: 'test', id: 'over-1', runId: 'over', name: 'deploys', status: 'failed' }]);
  const page = await here.open('/');
  const isStream = (request) => request.url().includes('/test-status/events');
  const ended = Promise.race(
    ['requestfinished', 'requestfailed'].map((outcome) => page.waitForEvent(outcome, isStream)),
  );
  await page.goto(`${here.url}/#/runs/over`);
  await shows(page, 'main', 'failed', '1 test: 1 failed');
  await ended;
  await here.job('over', 'passed', { attempt: 2, artifactPaths: ['https://ci.example.com/report.html'] });
  await shows(page, 'main', 'passed', '2nd attempt', 'Artifacts1');
  await here.send([{ kind: 'test', id: 'over-1', runId: 'over', status: 'passed', attempt: 2 }]);
  await shows(page, 'main', '1 test: 1 flaky');
});

test('a run in shards is running until each of them has ended', async () => {
  const part = (index) => ({ shard: { index, total: 2 } });
  await here.job('sharded', 'running', part(1));
  await here.job('sharded', 'running', part(2));
  const page = await here.open('/#/runs/sharded');
  await shows(page, 'main', 'running', '0 of 2 shards ended');
  await here.job('sharded', 'passed', part(1));
  await shows(page, 'main', 'running', '1 of 2 shards ended');
  await here.job('sharded', 'failed', part(2));
  await shows(page, 'main', 'failed', '2 of 2 shards ended');
});

test('a run that is cancelled takes its tests along', async () => {
  await here.job('stopped', 'running');
  const tests = ['passed', 'running', 'waiting'].map((status, index) => ({
    kind: 'test',
    id: `stopped-${index}`,
    runId: 'stopped',
    status,
  }));
  await here.send(tests);
  const page = await here.open('/#/runs/stopped');
  await shows(page, 'main', '3 tests: 1 running, 1 waiting, 1 passed');
  await here.job('stopped', 'cancelled', { errorDetails: 'Stopped by ada' });
  await shows(page, 'main', 'cancelled', 'Stopped by ada', '3 tests: 2 cancelled, 1 passed');
  const bar = page.getByRole('img', { name: '1 passed, 2 cancelled' });
  await bar.waitFor();
});

test('a run that falls silent is stale, and then given up', async () => {
  const page = await here.open('/#/runs/silent');
  await shows(page, 'main', 'Nobody has reported this run yet');
  await here.job('silent', 'running', { timeoutSeconds: 2 });
  await shows(page, 'main', 'nothing heard', 'may no longer be true');
  await shows(page, 'main', 'error', 'given up', 'nothing was heard of it for');
});

test('a link to a finished run shows its failures first, with their errors', async () => {
  await here.job('finished', 'running', { name: 'Nightly' });
  const began = Date.now() - 60_000;
  const tests = Array.from({ length: 300 }, (_, index) => ({
    kind: 'test',
    id: `finished-${index}`,
    runId: 'finished',
    name: `case ${index}`,
    file: `part${index % 9}.spec.ts`,
    labels: { shard: `${(index % 2) + 1}/2` },
    startedAt: new Date(began + index * 100).toISOString(),
    durationMs: 150,
    ...(index % 100 === 99
      ? { status: 'failed', error: `\u001b[31mAssertionError: ${index} is wrong\u001b[39m` }
      : { status: 'passed' }),
  }));
  await here.send(tests);
  await here.job('finished', 'failed');
  const page = await here.open('/#/runs/finished');
  const shown = await shows(
    page,
    '#tests',
    'Failed',
    'AssertionError: 99 is wrong',
    '199 is wrong',
    '299 is wrong',
  );
  assert.ok(shown.indexOf('299 is wrong') < shown.indexOf('Passed'), shown);
  assert.ok(!shown.includes('\u001b'), 'what a terminal does not show is left out');
  const colour = (selector) => page.locator(selector).first().evaluate((text) => getComputedStyle(text).color);
  const failed = await colour('#tests [data-state=failed] svg');
  assert.equal(await colour('#tests .error span'), failed, 'and what it colours is coloured');
  // Without scrolling.
  const first = await page.locator('#tests [data-state=failed]').first().boundingBox();
  assert.ok(first && first.y + first.height < 900, JSON.stringify(first));
  await shows(page, 'main', '300 tests: 3 failed, 297 passed');
  assert.equal(await page.title(), '✕ 3 failed · Nightly · Runcast');
  // A spinner would say that it goes on.
  const history = await here.open('/#/runs/finished?view=history');
  await shows(history, '#history', 'running', 'failed', '297 passed, 3 failed');
  assert.equal(await history.locator('main svg[data-status=running]:not(.still)').count(), 0);
  const timeline = await here.open('/#/runs/finished?view=timeline');
  // Each shard's tests overlap nowhere.
  await timeline.getByRole('img', { name: '300 tests on 2 lanes' }).waitFor();
  // Long after, when its events are gone.
  const { prunedEvents } = await here.invoke('migrate', { action: 'prune', olderThanDays: 0 });
  assert.ok(prunedEvents > 300);
  const later = await here.open('/#/runs/finished');
  await shows(later, '#tests', 'Failed', 'AssertionError: 99 is wrong', '299 is wrong');
  await shows(later, 'main', '300 tests: 3 failed, 297 passed');
});

test('a run that passed is whole, whatever progress it told last', async () => {
  await here.job('whole', 'running', { progress: { completed: 3, total: 10 } });
  const page = await here.open('/#/runs/whole');
  await shows(page, 'main', '3 of 10');
  const width = () =>
    page.locator('main .segment').evaluate((segment) => segment.getBoundingClientRect().width);
  const whole = await page.locator('main .bar').evaluate((bar) => bar.getBoundingClientRect().width);
  assert.ok(Math.abs((await width()) - 0.3 * whole) < 4);
  await here.job('whole', 'passed');
  await eventually(async () => assert.ok((await width()) > 0.99 * whole));
});

test('an event that only counts tests names them', async () => {
  await here.job('named', 'running');
  await here.send([{ kind: 'test', id: 'named-1', runId: 'named', name: 'adds up', status: 'running' }]);
  await here.send([{ kind: 'test', id: 'named-1', runId: 'named', status: 'passed' }]);
  const page = await here.open('/#/runs/named?view=history');
  await shows(page, '#history', '1 passed: adds up');
});

test('artifacts are links and images where they lead to the web, and text otherwise', async () => {
  await here.job('left', 'running');
  await here.job('left', 'passed', {
    artifactPaths: [
      '/icon.svg',
      'https://ci.example.com/1/trace.zip',
      's3://bucket/report.html',
      'javascript:alert(1)',
    ],
  });
  await here.send([
    {
      kind: 'test',
      id: 'left-1',
      runId: 'left',
      status: 'failed',
      reportPath: 'https://ci.example.com/report/index.html',
      s3Url: 's3://bucket/left-1.zip',
    },
  ]);
  const page = await here.open('/#/runs/left?view=artifacts');
  await shows(
    page,
    'main',
    'trace.zip',
    'in the trace viewer',
    's3://bucket/report.html',
    'javascript:alert(1)',
  );
  await eventually(async () =>
    assert.ok(await page.locator('main img').evaluate(({ naturalWidth }) => naturalWidth)),
  );
  const links = await page.locator('main a[target=_blank]').evaluateAll((all) => all.map(({ href }) => href));
  assert.deepEqual(links, [
    `${here.url}/icon.svg`,
    'https://ci.example.com/1/trace.zip',
    'https://trace.playwright.dev/?trace=https%3A%2F%2Fci.example.com%2F1%2Ftrace.zip',
  ]);
  const one = await here.open('/#/runs/left/tests/left-1');
  await shows(one, 'aside', 's3://bucket/left-1.zip');
  await one.locator('aside a[href="https://ci.example.com/report/index.html"]').waitFor();
});

test('a test leads to its source, where its run says of which commit it is', async () => {
  const run = { url: 'https://github.com/acme/shop/actions/runs/4711', labels: { commit: '8c1d2e0' } };
  await here.job('sourced', 'running', run);
  const place = { file: 'e2e/the cart.spec.ts', line: 9 };
  await here.send([{ kind: 'test', id: 'sourced-1', runId: 'sourced', status: 'passed', ...place }]);
  const page = await here.open('/#/runs/sourced/tests/sourced-1');
  const link = page.locator('aside a', { hasText: 'e2e/the cart.spec.ts:9' });
  await link.waitFor();
  const source = 'https://github.com/acme/shop/blob/8c1d2e0/e2e/the%20cart.spec.ts#L9';
  assert.equal(await link.getAttribute('href'), source);
});

test('whoever lets it is notified of the end, and the tab says it', async () => {
  await here.job('told', 'running', { name: 'Release' });
  const page = await here.open('/#/runs/told', { permissions: ['notifications'] });
  await page.evaluate(() => {
    window.notified = [];
    window.Notification = class {
      static requestPermission = async () => 'granted';
      constructor(title) {
        window.notified.push(title);
      }
    };
  });
  await shows(page, 'main', 'running');
  await page.getByRole('button', { name: 'Notify me at its end' }).click();
  await eventually(async () => assert.equal(await page.title(), '● Release · Runcast'));
  await page.locator('button[aria-pressed=true]', { hasText: 'Notify me' }).waitFor();
  await here.job('told', 'passed');
  await eventually(async () => assert.deepEqual(await page.evaluate('notified'), ['Release: passed']));
  assert.equal(await page.title(), '✓ Release · Runcast');
  assert.match(await page.locator('link[rel=icon]').getAttribute('href'), /^data:image\/svg/);
  // A screen reader hears it, too.
  await eventually(async () => assert.match(await page.locator('#news').textContent(), /Release: passed/));
});

test('who follows failures is led to each', async () => {
  await here.job('followed', 'running');
  const tests = Array.from({ length: 200 }, (_, index) => ({
    kind: 'test',
    id: `followed-${index}`,
    runId: 'followed',
    name: `case ${index}`,
    status: 'passed',
  }));
  await here.send(tests);
  const page = await here.open('/#/runs/followed');
  await shows(page, '#tests', 'case 0');
  await page.getByRole('button', { name: 'Follow failures' }).click();
  await page.evaluate('scrollTo(0, 4000)');
  await here.send([{ ...tests[7], id: 'followed-new', name: 'breaks', status: 'failed', error: 'no' }]);
  await eventually(async () => {
    const box = await page.locator('[data-test=followed-new]').boundingBox({ timeout: 500 });
    assert.ok(box && box.y > 0 && box.y < 900, JSON.stringify(box));
  });
});
