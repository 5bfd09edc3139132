import { expect, test } from 'vitest';

test('passes', () => {});

test('fails', () => {
  expect(1).toBe(2);
});
