/** @type {import('vitest/config').UserConfig} */
export default {
  test: {
    include: ['*.test.ts'],
    includeTaskLocation: true,
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 1000,
    reporters: ['default', 'json', ...(process.env.REPORTED ? ['runcast-reporter/vitest'] : [])],
    outputFile: { json: 'report.json' },
  },
};
