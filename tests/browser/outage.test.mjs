// Servers that go away, tokens that run out, and many tabs.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { eventually, isLive, shows, standing, world } from './world.mjs';

const here = await world({ QUEUE_NAMES: 'runs' });
after(() => here.close());

const seqs = (page) =>
  page.locator('#history time').evaluateAll((times) => times.map(({ dataset }) => Number(dataset.seq)));
const progress = (id, completed) =>
  here.job(id, 'running', { progress: { completed, total: 9, message: `step ${completed}` } });

test('ten tabs of runs and the overview hold at most three streams, over HTTP/1.1', async () => {
  const runs = Array.from({ length: 10 }, (_, index) => `tab-${index}`);
  for (const run of runs) {
    await here.job(run, 'running', { name: `Run ${run}` });
    await here.send([
      { kind: 'test', id: `${run}-t`, runId: run, status: 'running', name: `test of ${run}` },
    ]);
  }
  const overview = await here.open('/');
  await shows(overview, '#running', 'Run tab-9');
  const tabs = [];
  for (const run of runs) tabs.push(await here.open(`/#/runs/${run}`, { beside: overview }));
  for (const [index, tab] of tabs.entries()) await shows(tab, '#tests', `test of tab-${index}`);
  const busy = async () => {
    const { functions } = await (await fetch(`${here.url}/_local/report`)).json();
    const streaming = ['job-status', 'test-status', 'queue-stats'].flatMap(
      (name) => functions[name].processes,
    );
    return streaming.filter(({ state }) => state === 'busy').length;
  };
  await eventually(async () => assert.ok((await busy()) <= 3, `${await busy()} streams`));
  for (const run of runs) {
    await here.send([{ kind: 'test', id: `${run}-t`, runId: run, status: 'passed' }]);
    await here.job(run, 'passed');
  }
  for (const tab of tabs) await shows(tab, 'main', 'passed', '1 test: 1 passed');
  await shows(overview, '#finished', ...runs.map((run) => `Run ${run}`));
  await overview.context().close();
  await eventually(async () => assert.equal(await busy(), 0));
});

test('a page misses nothing while Redis is killed and comes back, nor while Postgres is', async () => {
  await here.job('broken', 'running');
  const page = await here.open('/#/runs/broken?view=history');
  await shows(page, '#history', 'running');
  let completed = 0;
  for (const server of ['redis', 'postgres']) {
    const back = here.press(`/_local/faults/${server}?seconds=2`);
    for (let each = 0; each < 3; each += 1) {
      completed += 1;
      await progress('broken', completed);
    }
    assert.equal((await back).status, 200);
    await shows(page, '#history', `step ${completed}`);
  }
  await here.job('broken', 'passed');
  await shows(page, '#history', 'passed');
  assert.deepEqual(await seqs(page), [8, 7, 6, 5, 4, 3, 2, 1]);
});

test('who breaks Redis sees it, and how many events came nevertheless', async () => {
  const page = await here.open('/');
  await isLive(page);
  await page.getByRole('button', { name: 'Break Redis' }).click();
  // Nothing went on: a scene is started, to have something to see.
  await shows(page, '#fault', 'Redis is killed', 'once a second');
  await shows(page, '#running', 'Checkout, end to end');
  const said = await shows(page, '#fault', 'No event was lost');
  const [, events] = /the log has ([\d,]+) events/.exec(said);
  assert.ok(Number(events) > 0, said);
  // The queue was lost with it, and is as it was.
  await eventually(async () => {
    const { rows, queue } = await standing(page);
    assert.ok(rows[0] > 0);
    assert.deepEqual(queue, rows);
  });
});

test('a page goes on when its token expires', async () => {
  await here.job('signed', 'running');
  const page = await here.open('/#/runs/signed?view=history');
  await shows(page, '#history', 'running');
  const overview = await here.open('/', { beside: page });
  await isLive(overview);
  // The tab that holds the streams asks for tokens; which one that is, may change.
  const lives = [];
  overview.context().on('request', (request) => {
    if (request.url().endsWith('/_local/token')) lives.push(request.postDataJSON().ttlSeconds);
  });
  await overview.getByRole('button', { name: 'Expire the token' }).click();
  await eventually(async () =>
    assert.ok(lives.lastIndexOf(300) > lives.indexOf(5) && lives.includes(5), lives.join()),
  );
  await isLive(page);
  await progress('signed', 5);
  await shows(page, '#history', '5 of 9');
  await here.job('signed', 'passed');
  await shows(page, '#history', 'passed');
  assert.deepEqual(await seqs(page), [3, 2, 1]);
  await shows(overview, '#finished', 'signed');
});

test('a reload in mid-run keeps the page and all its events', async () => {
  await here.job('reloaded', 'running');
  await progress('reloaded', 1);
  const page = await here.open('/#/runs/reloaded?view=history');
  await shows(page, '#history', '1 of 9');
  await page.reload();
  await progress('reloaded', 2);
  await here.job('reloaded', 'passed');
  await shows(page, '#history', '1 of 9', '2 of 9', 'passed');
  assert.deepEqual(await seqs(page), [4, 3, 2, 1]);
});
