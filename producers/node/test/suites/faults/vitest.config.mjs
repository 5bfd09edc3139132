/** @type {import('vitest/config').UserConfig} */
export default {
  test: {
    include: ['*.test.ts'],
    maxWorkers: 1,
    reporters: ['verbose', ...(process.env.REPORTED ? ['runcast-reporter/vitest'] : [])],
  },
};
