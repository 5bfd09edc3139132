// Opens a page in the machine's Chromium: `node page.mjs <url>`. Every line on stdin is an
// expression to wait for on the page; its value goes out as one line of JSON. Ends with stdin.

import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { chromium } from 'playwright-core';

const PATIENCE_MS = 30_000;
const INTERVAL_MS = 20;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
try {
  const page = await browser.newPage();
  const broken = new Promise((_, reject) => {
    page.on('pageerror', reject);
    page.on('crash', () => reject(new Error('the page crashed')));
    page.on('console', (message) => {
      if (message.type() === 'error') reject(new Error(message.text()));
    });
  });
  broken.catch(() => {}); // It is told to whoever waits next.
  await page.goto(process.argv[2]);
  for await (const expression of createInterface({ input: process.stdin })) {
    const value = await Promise.race([waitFor(page, expression), broken]).catch(async (error) => {
      const shown = await page.evaluate('document.body.innerText').catch(() => 'nothing');
      throw new Error(`${expression}: ${error.message}\nThe page shows:\n${shown}`);
    });
    console.log(JSON.stringify(value));
  }
} finally {
  await browser.close();
}

// Not Playwright's waitForFunction: the page's policy forbids what that needs, `eval`.
async function waitFor(page, expression) {
  const giveUp = Date.now() + PATIENCE_MS;
  while (Date.now() < giveUp) {
    const value = await page.evaluate(expression);
    if (value) return value;
    await setTimeout(INTERVAL_MS);
  }
  throw new Error('waited in vain');
}
