import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/*.test.ts'],
    globalSetup: ['test/stack.ts'],
    testTimeout: 120_000,
    maxWorkers: 3,
  },
});
