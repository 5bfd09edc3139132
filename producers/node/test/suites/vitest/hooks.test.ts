import { afterEach, beforeAll, describe, test } from 'vitest';

describe('whose beforeAll fails', () => {
  beforeAll(() => {
    throw new Error('no database');
  });
  test('cannot run', () => {});
});

describe('whose afterEach fails', () => {
  afterEach(() => {
    throw new Error('not cleaned up');
  });
  test('passes but for that', () => {});
});
