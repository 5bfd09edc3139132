// A configuration in CommonJS, as many are; the reporter is a module.
/** @type {import('@playwright/test').PlaywrightTestConfig} */
module.exports = {
  retries: 0,
  timeout: 1500,
  workers: 2,
  reporter: [['list'], ['json'], ...(process.env.REPORTED ? [['runcast-reporter/playwright', {}]] : [])],
  projects: [{ name: 'one' }, { name: 'two', testMatch: 'titles.spec.ts', repeatEach: 2 }],
};
