import { test } from '@playwright/test';

for (const name of ['a', 'b', '漢字 🎭 é', '"quotes" & <tags>', 'x'.repeat(400)])
  test(`is named ${name}`, () => {});

test.describe('one group', () => {
  test('has the same title', () => {});
});

test.describe('another group', () => {
  test('has the same title', () => {});
});
