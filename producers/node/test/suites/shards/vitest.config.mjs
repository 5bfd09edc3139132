/** @type {import('vitest/config').UserConfig} */
export default {
  test: { pool: 'threads', maxWorkers: 1, isolate: false, reporters: ['default', 'runcast-reporter/vitest'] },
};
