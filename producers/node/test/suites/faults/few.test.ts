import { expect, test } from 'vitest';

test('passes', () => {});

test('takes its time', () => new Promise((resolve) => setTimeout(resolve, 1200)));

test('fails', () => {
  expect(1).toBe(2);
});
