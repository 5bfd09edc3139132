import { expect, test } from '@playwright/test';

test('fails', () => {
  expect(1).toBe(2);
});

test('passes', () => {});

test.skip('is skipped', () => {});

test('passes, too', () => {});
