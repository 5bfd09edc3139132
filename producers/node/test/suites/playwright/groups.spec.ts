import { expect, test } from '@playwright/test';

test.describe
  .serial('in order', () => {
    test('passes, and is run again', () => {});
    test('fails once', () => {
      const { retry } = test.info();
      expect(retry).toBe(1);
    });
    test('comes after it', () => {});
  });

test.describe
  .serial('in good order', () => {
    test('passes at once', () => {});
    test('passes then', () => {});
  });

test.describe('whose beforeAll fails', () => {
  test.describe.configure({ retries: 1 });
  test.beforeAll(() => {
    throw new Error('no database');
  });
  test('cannot run', () => {});
  test('cannot either', () => {});
});

test.describe('whose afterEach fails', () => {
  test.afterEach(() => {
    throw new Error('not cleaned up');
  });
  test('passes but for that', () => {});
});
