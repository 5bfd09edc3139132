/** @type {import('@playwright/test').PlaywrightTestConfig} */
module.exports = {
  testMatch: 'few.spec.ts',
  workers: 1,
  reporter: [['list'], ...(process.env.REPORTED ? [['runcast-reporter/playwright']] : [])],
};
