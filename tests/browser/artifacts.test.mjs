// What tests left in a bucket, as the dashboard shows it.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { after, test } from 'node:test';
import { checkout, eventually, shows, world } from './world.mjs';

const image = await readFile(`${checkout}/docs/dashboard.png`);
const asked = [];
const bucket = createServer(({ url }, response) => {
  asked.push(url);
  response.writeHead(200, { 'content-type': 'image/png' }).end(image);
});
bucket.listen(0, '127.0.0.1');
await once(bucket, 'listening');
const here = await world({
  ARTIFACTS_BUCKET: 'ci-artifacts',
  AWS_REGION: 'eu-central-1',
  AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE',
  AWS_SECRET_ACCESS_KEY: 'secret',
  AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${bucket.address().port}`,
});
after(async () => {
  await here.close();
  bucket.close();
});

test('what lies in the bucket is shown by a URL that expires, and what lies in another is text', async () => {
  await here.job('left', 'running');
  const left = {
    shot: 's3://ci-artifacts/1/a shot.png',
    trace: 's3://ci-artifacts/1/trace.zip',
    other: 's3://other/1.png',
  };
  await here.send(
    Object.entries(left).map(([name, s3Url]) => ({
      kind: 'test',
      id: `left-${name}`,
      runId: 'left',
      status: 'failed',
      s3Url,
    })),
  );
  const page = await here.open('/#/runs/left');
  await shows(page, '#tests', 'shot', 'trace', 'other');
  assert.deepEqual(asked, [], 'nobody has looked at one');
  await page.goto(`${here.url}/#/runs/left/tests/left-shot`);
  await eventually(async () =>
    assert.ok(await page.locator('aside img').evaluate(({ naturalWidth }) => naturalWidth, { timeout: 500 })),
  );
  assert.match(asked[0], /^\/ci-artifacts\/1\/a%20shot\.png\?.*X-Amz-Signature=/);
  await page.goto(`${here.url}/#/runs/left/tests/left-trace`);
  const href = await page.locator('aside a', { hasText: 'trace.zip' }).getAttribute('href');
  assert.match(href, /\/ci-artifacts\/1\/trace\.zip\?.*X-Amz-Signature=/);
  const refused = page.waitForResponse(/artifacts\/left-other/);
  await page.goto(`${here.url}/#/runs/left/tests/left-other`);
  assert.equal((await refused).status(), 404);
  await shows(page, 'aside code', 's3://other/1.png');
  assert.deepEqual(page.problems, []);
});
