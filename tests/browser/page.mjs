// Tabs in the machine's Chromium: `node page.mjs <url>`. Every line on stdin is a command as JSON, `{"do", "tab", …}`;
// its answer goes out as one line of JSON. Ends with stdin.

import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { AxeBuilder } from '@axe-core/playwright';
import { launch } from './browser.mjs';

const PATIENCE_MS = 30_000;
const INTERVAL_MS = 20;

const url = process.argv[2];
const browser = await launch();
const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
const tabs = [];
let breakWith;
const broken = new Promise((_, reject) => {
  breakWith = reject;
});
broken.catch(() => {}); // It is told to whoever waits next.

const commands = {
  async open({ path }) {
    const page = await context.newPage();
    page.on('pageerror', breakWith);
    page.on('crash', () => breakWith(new Error('the page crashed')));
    page.on('console', (message) => {
      // That a server is away, is what some tests are about.
      const isNetwork = message.text().startsWith('Failed to load resource');
      if (message.type() === 'error' && !isNetwork) breakWith(new Error(message.text()));
    });
    tabs.push(page);
    await page.goto(`${url}${path}`);
    return tabs.length - 1;
  },
  wait: ({ tab, expression }) => waitFor(tabs[tab], expression),
  async close({ tab }) {
    await tabs[tab].close({ runBeforeUnload: false });
    return true;
  },
  /** What axe finds that is serious. */
  async axe({ tab, scheme }) {
    await tabs[tab].emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
    const { violations } = await new AxeBuilder({ page: tabs[tab] }).analyze();
    const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    return serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`);
  },
  /** How many bytes the page's files have, each compressed. */
  async weight() {
    const page = await context.newPage();
    const bodies = [];
    page.on('response', (response) => {
      // Not what it asks for when it runs: that is data.
      if (response.request().resourceType() !== 'fetch') bodies.push(response.body());
    });
    await page.goto(url, { waitUntil: 'load' });
    page.removeAllListeners('response');
    const sizes = (await Promise.all(bodies)).map((body) => gzipSync(body).length);
    await page.close();
    return sizes.reduce((sum, size) => sum + size, 0);
  },
  /** How long a page takes from the begin of its navigation until a selector finds something, in milliseconds. */
  async first({ path, selector }) {
    const page = await context.newPage();
    await page.goto(`${url}${path}`, { waitUntil: 'commit' });
    await page.locator(selector).first().waitFor({ timeout: PATIENCE_MS });
    const took = await page.evaluate('performance.now()');
    await page.close();
    return took;
  },
};

try {
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    const done = commands[command.do](command);
    const answer = await Promise.race([done, broken]).catch(async (error) => {
      const shown = await tabs[command.tab ?? 0]?.evaluate('document.body.innerText').catch(() => 'nothing');
      throw new Error(`${line}: ${error.message}\nThe page shows:\n${shown}`);
    });
    console.log(JSON.stringify(answer));
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
