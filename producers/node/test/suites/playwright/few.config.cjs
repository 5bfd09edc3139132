/** @type {import('@playwright/test').PlaywrightTestConfig} */
module.exports = {
  testMatch: 'few*.ts',
  testIgnore: 'nothing',
  workers: 1,
  fullyParallel: true,
  ...(process.env.SETUP_FAILS && { globalSetup: './setup.ts' }),
  reporter: [['line'], ['blob'], ['runcast-reporter/playwright', { name: 'Few' }]],
};
