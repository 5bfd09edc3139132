// The pages of the dashboard, and what they have in common.

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { AxeBuilder } from '@axe-core/playwright';
import { checkout, eventually, isLive, shows, world } from './world.mjs';

/** What all files together may weigh, in bytes, each compressed. */
const BUDGET = 150 * 1024;

/** An error as tools write it to a terminal. */
const COLOURED = [
  'AssertionError: no file',
  ...['2mexpect', '31mReceived', '32mExpected', '33mtoday', '34mhere', '35mnow', '36mfile', '7mchanged'].map(
    (coloured) => `\u001b[${coloured}\u001b[0m`,
  ),
].join('\n');

const here = await world({ QUEUE_NAMES: 'runs' });
after(() => here.close());

before(async () => {
  const labels = { branch: 'main' };
  await here.job('old', 'passed', {
    name: 'Nightly export',
    labels,
    startedAt: 1_700_000_000_000,
    durationMs: 65_000,
  });
  await here.job('broken', 'failed', {
    name: 'Checkout',
    errorDetails: 'expected 200, got 503',
    url: 'https://ci.example.com/1',
  });
  await here.job('now', 'running', { name: 'Nightly export', labels: { branch: 'fix/export' }, attempt: 2 });
  await here.send(
    ['failed', 'passed', 'running', 'waiting', 'skipped'].map((status, index) => ({
      kind: 'test',
      id: `now-${index}`,
      runId: 'now',
      status,
      name: `exports ${index}`,
      file: 'export.spec.ts',
      line: 7,
      ...(status === 'failed' && { error: COLOURED }),
    })),
  );
});

test('the project page has the runs in progress, and the past', async () => {
  const page = await here.open('/');
  await shows(page, '#running', 'Nightly export', 'fix/export', '2nd attempt', 'of ~1m 5s');
  const finished = await shows(
    page,
    '#finished',
    'Nightly export',
    'Checkout',
    'expected 200, got 503',
    'ci.example.com',
  );
  assert.ok(finished.indexOf('Checkout') < finished.indexOf('Nightly export'), 'the last one first');
  const ago = page.locator('#finished time').first();
  assert.match(await ago.getAttribute('title'), /\d{4}.*\d\d:\d\d:\d\d/);
  await here.job('new', 'running', { name: 'Just begun' });
  await shows(page, '#running', 'Just begun');
  await here.job('new', 'passed');
  await shows(page, '#finished', 'Just begun');
});

test('the address holds the filter, and a reload keeps it', async () => {
  const page = await here.open('/#/?status=failed');
  await shows(page, '#finished', 'Checkout');
  assert.equal(await page.locator('article').count(), 1);
  await page.getByRole('button', { name: 'All' }).click();
  await shows(page, '#running', 'Nightly export');
  await page.getByRole('searchbox').pressSequentially('FIX/exp');
  await eventually(async () => assert.match(await page.evaluate('location.href'), /q=FIX%2Fexp$/));
  await eventually(async () => assert.equal(await page.locator('article').count(), 1));
  await page.reload();
  await shows(page, '#running', 'fix/export');
  assert.equal(await page.locator('article').count(), 1);
  await page.getByRole('searchbox').pressSequentially('nothing is called this');
  await shows(page, 'main', 'No run is like that');
  await page.getByRole('link', { name: 'Show all' }).click();
  await shows(page, '#finished', 'Checkout');
  // Of a run, too.
  const run = await here.open('/#/runs/now?status=failed&group=file');
  await shows(run, '#tests', 'exports 0', 'AssertionError: no file');
  assert.equal(await run.locator('#tests article').count(), 1);
});

test('earlier runs are a click away', async () => {
  const runs = Array.from({ length: 70 }, (_, index) => ({
    kind: 'job',
    id: `many-${index}`,
    status: 'passed',
    projectId: 'many',
  }));
  await here.send(runs);
  const page = await here.open('/#/projects/many');
  await shows(page, 'main', '50+');
  await page.getByRole('button', { name: 'Load more' }).click();
  await shows(page, 'main', 'Finished\n70');
  await shows(page, '#project', 'many');
});

test('a keyboard is enough', async () => {
  const own = { projectId: 'keys' };
  await here.job('keys-1', 'passed', { ...own, name: 'Nightly' });
  await here.job('keys-2', 'failed', { ...own, name: 'Checkout' });
  await here.job('keys-3', 'running', { ...own, name: 'Export' });
  await here.send([
    {
      kind: 'test',
      id: 'keys-a',
      runId: 'keys-3',
      ...own,
      status: 'failed',
      name: 'exports all',
      error: 'AssertionError',
    },
    { kind: 'test', id: 'keys-b', runId: 'keys-3', ...own, status: 'passed', name: 'exports none' },
  ]);
  const page = await here.open('/#/projects/keys');
  await shows(page, '#finished', 'Checkout', 'Nightly');
  const focused = () => page.evaluate(() => document.activeElement.textContent);
  const goes = async (key, to) => {
    await page.keyboard.press(key);
    await eventually(async () =>
      assert.ok((await focused()).includes(to), `${await focused()} after ${key}`),
    );
  };
  await goes('Tab', 'Skip to the content');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate('document.activeElement.id'), 'main');
  await goes('j', 'Export');
  await goes('j', 'Checkout');
  await goes('j', 'Nightly');
  await goes('k', 'Checkout');
  await goes('k', 'Export');
  await page.keyboard.press('Enter');
  await shows(page, '#tests', 'exports all');
  assert.equal(
    await page.evaluate('document.activeElement.id'),
    'main',
    'the focus is where the new content is',
  );
  await page.keyboard.press('/');
  await page.keyboard.type('exports all');
  await eventually(async () => assert.equal(await page.locator('#tests article').count(), 1));
  await page.keyboard.press('Escape');
  await page.keyboard.press('Escape');
  await eventually(async () => assert.equal(await page.locator('#tests article').count(), 2));
  await goes('j', 'Failed');
  await goes('j', 'exports all');
  await page.keyboard.press('Enter');
  await shows(page, 'aside', 'exports all', 'AssertionError');
  assert.equal(await page.evaluate('document.activeElement.id'), 'test');
  await goes('Escape', 'exports all');
  assert.match(await page.evaluate('location.href'), /#\/runs\/keys-3$/);
  await page.keyboard.press('?');
  await shows(page, 'dialog', 'Next in the list');
  await page.keyboard.press('Escape');
  await page.keyboard.press('g');
  await shows(page, '#finished', 'Checkout', 'Nightly');
});

test('axe finds nothing, in any colours, on a phone or a desk', async () => {
  const pages = [
    ['/', '#finished'],
    ['/#/runs/now', '#tests'],
    ['/#/runs/now/tests/now-0', 'aside'],
    ['/#/runs/now?view=timeline', 'canvas'],
    ['/#/runs/now?view=history', '#history'],
    ['/#/queues', 'figure'],
    ['/#/nothing/here', 'main h2'],
    ['/#/runs/nobody', 'main h2'],
    ['/#/projects/empty', '.empty'],
  ];
  for (const [options, looked] of [
    [{ colorScheme: 'light' }, pages],
    [{ colorScheme: 'dark' }, pages.slice(0, 2)],
    [{ viewport: { width: 320, height: 700 } }, pages],
  ]) {
    const page = await here.open('/', options);
    for (const [path, selector] of looked) {
      await page.goto(`${here.url}${path}`);
      await page.locator(selector).first().waitFor();
      const over = await page.evaluate(
        'document.documentElement.scrollWidth - document.documentElement.clientWidth',
      );
      assert.ok(over <= 0, `${path} is ${over} px too wide`);
      // It takes seconds, and on a phone only the layout is another.
      if (options.viewport && !pages.slice(2, 3).some(([some]) => some === path)) continue;
      const { violations } = await new AxeBuilder({ page }).analyze();
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`);
      assert.deepEqual(found, [], `${path} ${JSON.stringify(options)}`);
    }
    assert.deepEqual(page.problems, []);
    await page.context().close();
  }
});

test('bars are seen in forced colours', async () => {
  const page = await here.open('/#/runs/now', { forcedColors: 'active' });
  await shows(page, '#tests', 'exports 0');
  const colors = await page
    .locator('main .segment')
    .evaluateAll((segments) => segments.map((segment) => getComputedStyle(segment).backgroundColor));
  assert.ok(colors.length >= 4);
  assert.ok(new Set(colors).size >= 4, colors.join());
});

test('toasts tell of ends, and not of what the page shows', async () => {
  const toasts = (page) => page.locator('[data-sonner-toast]');
  const page = await here.open('/#/queues');
  await shows(page, 'main', 'All queues');
  await isLive(page);
  const project = await here.open('/', { beside: page });
  await shows(project, '#running', 'Nightly export');
  await here.job('ends', 'running', { name: 'It ends' });
  await shows(project, '#running', 'It ends');
  assert.equal(await toasts(page).count(), 0, 'that it runs is no news');
  await here.job('ends', 'failed');
  await shows(page, '[data-sonner-toast][data-type=error]', 'It ends', 'failed');
  await here.job('well', 'running', { name: 'Goes well' });
  await here.job('well', 'passed');
  await shows(page, '[data-sonner-toast][data-type=success]', 'Goes well');
  await page.mouse.move(900, 300);
  await eventually(async () => assert.equal(await toasts(page).count(), 1, 'what went well goes'));
  await shows(page, '[data-sonner-toast]', 'It ends');
  await shows(project, '#finished', 'It ends', 'Goes well');
  assert.equal(await toasts(project).count(), 0, 'its row says so');
  await page.getByRole('button', { name: 'Look' }).click();
  await shows(page, 'main h2', 'It ends');
  await eventually(async () => assert.equal(await toasts(page).count(), 0));
});

test('a run that is opened again is told of once more', async () => {
  const page = await here.open('/#/queues');
  await isLive(page);
  await here.job('again', 'running', { name: 'Twice' });
  await here.job('again', 'failed');
  await shows(page, '[data-sonner-toast][data-type=error]', 'Twice', 'failed');
  await here.job('again', 'running', { attempt: 2 });
  await here.job('again', 'passed');
  // It takes the place of the failure, and goes.
  await shows(page, '[data-sonner-toast][data-type=success]', 'Twice', 'passed');
  await eventually(async () => assert.equal(await page.locator('[data-sonner-toast]').count(), 0));
  await page.getByRole('link', { name: 'Runs', exact: true }).click();
  await shows(page, '#finished', 'Twice', '2nd attempt', 'flaky');
});

test('an address that is none says so', async () => {
  const page = await here.open('/#/runs/with spaces/x');
  await shows(page, 'main', 'There is no such page');
  await page.getByRole('link', { name: 'To the runs' }).click();
  await shows(page, '#finished', 'Checkout');
});

test('where nothing was reported, a scene can be started', async () => {
  const page = await here.open('/#/projects/empty');
  await shows(page, 'main', 'No run yet', 'runcast publish job');
  await page.locator('.empty').getByRole('button', { name: 'Start a scene' }).waitFor();
  await here.send([{ kind: 'job', id: 'first', status: 'running', projectId: 'empty' }]);
  await shows(page, '#running', 'first');
});

test('what starts a scene is in sight on a phone, and soon reached by keyboard', async () => {
  const page = await here.open('/', { viewport: { width: 320, height: 700 } });
  await shows(page, '#finished', 'Checkout');
  const button = page.getByRole('button', { name: 'Start a scene' });
  const { y, height } = await button.boundingBox();
  assert.ok(y + height < 700, `${y}`);
  await button.evaluate((its) => its.addEventListener('focus', () => its.setAttribute('data-reached', '')));
  for (let tabs = 0; tabs < 10; tabs += 1) await page.keyboard.press('Tab');
  assert.equal(await button.getAttribute('data-reached'), '');
});

test('a plot has a legend, an upper label, values under the pointer, and a gap where nothing is known', async () => {
  const page = await here.open('/#/queues');
  await shows(page, 'figure', 'running', 'queued', 'now');
  const labels = await page.locator('figure svg text').allTextContents();
  assert.deepEqual(labels.slice(0, 3), ['0', '2', '4']);
  const lines = () => page.locator('figure svg path').first().getAttribute('d');
  const parts = async () => (await lines()).split('M').length - 1;
  await eventually(async () => assert.equal(await parts(), 1));
  await page.route('**/api/**', (route) => route.abort());
  // The streams are opened anew, in vain.
  await page.evaluate(() => {
    dispatchEvent(new PageTransitionEvent('pagehide'));
    dispatchEvent(new PageTransitionEvent('pageshow'));
  });
  await eventually(async () =>
    assert.notEqual(await page.locator('#connection').getAttribute('data-state'), 'open'),
  );
  await page.waitForTimeout(1200);
  await page.unroute('**/api/**');
  await eventually(async () => assert.equal(await parts(), 2));
  const box = await page.locator('figure svg').boundingBox();
  await page.mouse.move(box.x + box.width - 20, box.y + 60);
  await eventually(async () => assert.match(await page.locator('figcaption').innerText(), /\d\d:\d\d:\d\d/));
  await page.locator('table a', { hasText: 'runs' }).click();
  await shows(page, 'main', 'runs', 'active', 'delayed');
});

/** A page that is deployed, as far as its `config.json` says. */
async function deployed(path, settings, routes = {}) {
  const context = await here.browser.newContext();
  const config = { apiUrl: '', organizationId: 'demo', projectId: 'demo', local: null, ...settings };
  await context.route('**/config.json', (route) => route.fulfill({ json: config }));
  for (const [url, answer] of Object.entries(routes)) await context.route(url, answer);
  const first = await context.newPage();
  first.on('pageerror', (error) => first.problems.push(error.stack));
  first.problems = [];
  await first.goto(`${here.url}${path}`);
  return first;
}

test('who is not signed in is led to where one signs in', async () => {
  const page = await deployed('/', { signInUrl: 'https://login.example.com/' });
  const link = page.locator('a:visible', { hasText: 'Sign in again' });
  await link.waitFor();
  assert.equal(await link.getAttribute('href'), 'https://login.example.com/');
});

test('a cookie is renewed where the deployment says', async () => {
  let renewals = 0;
  const page = await deployed(
    '/',
    { tokenUrl: '/my/token' },
    {
      '**/my/token': async (route) => {
        renewals += 1;
        const headers = { 'set-cookie': `runcast_token=${here.token}; Path=/; SameSite=Strict` };
        await route.fulfill({ status: 204, headers });
      },
    },
  );
  await shows(page, '#finished', 'Checkout');
  assert.ok(renewals >= 1);
});

test('another project can be chosen, or typed', async () => {
  const page = await deployed(
    '/',
    { tokenUrl: '/my/token', projects: ['demo', 'many'] },
    { '**/my/token': (route) => route.fulfill({ json: { token: here.token } }) },
  );
  await shows(page, '#finished', 'Checkout');
  await page.locator('summary', { hasText: 'demo' }).click();
  await page.getByRole('link', { name: 'many' }).click();
  await shows(page, '#finished', 'many-');
  await page.locator('summary', { hasText: 'many' }).click();
  await page.getByRole('textbox', { name: 'Another project' }).pressSequentially('elsewhere');
  await page.keyboard.press('Enter');
  await shows(page, 'main', 'No run yet');
  await shows(page, '#project', 'elsewhere');
});

test('what the server said is shown', async () => {
  const page = await deployed(
    '/',
    { tokenUrl: '/my/token' },
    {
      '**/my/token': (route) => route.fulfill({ json: { token: here.token } }),
      '**/api/**': (route) =>
        route.fulfill({
          status: 503,
          contentType: 'application/problem+json',
          headers: { 'retry-after': '1' },
          json: { type: 'about:blank', title: 'Unavailable', status: 503, detail: 'The log is being moved.' },
        }),
    },
  );
  await shows(page, 'body', 'The log is being moved.');
});

test('all files together are light', async () => {
  const folder = `${checkout}/web/dist`;
  const names = (await readdir(folder, { recursive: true })).filter((name) => /\.\w+$/.test(name));
  const sizes = await Promise.all(
    names.map(async (name) => gzipSync(await readFile(`${folder}/${name}`)).length),
  );
  const sum = sizes.reduce((all, size) => all + size, 0);
  console.log(`the dashboard has ${sum} bytes, compressed`);
  assert.ok(sum < BUDGET, `${sum} bytes`);
});
