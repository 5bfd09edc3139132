import fs from 'node:fs';
import { expect, test } from '@playwright/test';

test('passes', () => {});

test('waits until a viewer has seen that the one before passed', async () => {
  const seen = process.env.SEEN;
  test.skip(!seen, 'nobody watches');
  test.setTimeout(20_000);
  await expect.poll(() => fs.existsSync(seen ?? ''), { timeout: 20_000 }).toBe(true);
});

test.describe('with retries', () => {
  test.describe.configure({ retries: 1 });
  test('fails twice', () => {
    expect(1).toBe(2);
  });

  test('fails, then passes', () => {
    const { retry } = test.info();
    expect(retry).toBe(1);
  });
});

test.skip('is skipped', () => {});

test('skips itself', () => {
  test.skip(true, 'not here');
});

test.fixme('is to do', () => {});

test('fails as expected', () => {
  test.fail();
  expect(1).toBe(2);
});

test('passes though a failure is expected', () => {
  test.fail();
});

test('is out of time', async () => {
  test.setTimeout(300);
  await new Promise(() => {});
});

test('has an error of 1 MB', () => {
  throw new Error(`large: ${'é'.repeat(500_000)}`);
});

test('has a file', async () => {
  const testInfo = test.info();
  const path = testInfo.outputPath('shot.txt');
  fs.writeFileSync(path, 'a picture');
  testInfo.attachments.push({ name: 'shot', path, contentType: 'text/plain' });
});
