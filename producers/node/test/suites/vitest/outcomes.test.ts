import fs from 'node:fs';
import { describe, expect, test } from 'vitest';

test('passes', () => {});

test('waits until a viewer has seen that the one before passed', { timeout: 20_000 }, async ({ skip }) => {
  const { SEEN = '' } = process.env;
  skip(!SEEN, 'nobody watches');
  await expect.poll(() => fs.existsSync(SEEN), { timeout: 20_000 }).toBe(true);
});

test('fails', () => {
  expect({ a: 1 }).toEqual({ a: 2 });
});

test('fails twice', { retry: 1 }, () => {
  expect(1).toBe(2);
});

let tries = 0;
test('fails, then passes', { retry: 2 }, () => {
  tries += 1;
  expect(tries).toBe(2);
});

test.skip('is skipped', () => {});

test('skips itself', ({ skip }) => skip());

test.todo('is to do');

test.fails('fails as expected', () => {
  expect(1).toBe(2);
});

test.fails('passes though a failure is expected', () => {});

test('is out of time', { timeout: 100 }, () => new Promise(() => {}));

test('has an error of 1 MB', () => {
  throw new Error(`large: ${'é'.repeat(500_000)}`);
});

test('is repeated', { repeats: 2 }, () => {});

test.each([1, 2, 2])('is for %i', () => {});

test.concurrent('runs beside another', () => {});

test('漢字 🎭 é "quotes" & <tags>', () => {});

test('has the same title', () => {});

test('has the same title', () => {});

describe('a group', () => {
  test('has the same title', () => {});
});
