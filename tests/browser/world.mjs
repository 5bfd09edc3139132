// A stack and a browser for the tests of the dashboard: `node --test tests/browser/`.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { launch } from './browser.mjs';

export const checkout = fileURLToPath(new URL('../..', import.meta.url));
const PATIENCE_MS = Number(process.env.PATIENCE_MS ?? 30_000);
const INTERVAL_MS = 40;

/** Starts both. */
export async function world(variables = {}) {
  const binary = process.env.RUNCAST ?? `${checkout}/target/debug/runcast`;
  const stack = spawn(binary, ['up', '--port', '0', '--end-with-stdin'], {
    env: { ...process.env, ...variables },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const ended = once(stack, 'exit').then(() => Promise.reject(new Error('the stack did not start')));
  ended.catch(() => {});
  const lines = createInterface({ input: stack.stdout });
  const [line] = await Promise.race([once(lines, 'line'), ended]);
  const ready = JSON.parse(line);
  const browser = await launch();
  const close = async () => {
    await browser.close();
    stack.stdin.end();
    await ended.catch(() => {});
  };
  return new World(ready, browser, close);
}

class World {
  constructor({ url, token }, browser, close) {
    Object.assign(this, { url, token, browser, close });
  }

  /** Opens a page in a browser profile of its own, or in the one of `beside`. What goes wrong in it fails the test. */
  async open(path, { beside, ...options } = {}) {
    const context =
      beside?.context() ??
      (await this.browser.newContext({
        viewport: { width: 1280, height: 900 },
        reducedMotion: 'reduce',
        ...options,
      }));
    const page = await context.newPage();
    page.problems = [];
    page.on('pageerror', (error) => page.problems.push(error.stack));
    page.on('console', (message) => {
      // That a server is away, is what some tests are about.
      const isNetwork = message.text().startsWith('Failed to load resource');
      if (message.type() === 'error' && !isNetwork) page.problems.push(message.text());
    });
    await page.goto(`${this.url}${path}`);
    return page;
  }

  /** Sends updates through the worker; all of them have to be taken. */
  async send(updates) {
    const full = updates.map((update) => ({
      eventId: randomUUID(),
      organizationId: 'demo',
      projectId: 'demo',
      ...update,
    }));
    const answer = await this.deliver(full);
    assert.deepEqual(answer.rejected, []);
    return answer;
  }

  /** The same, until the worker can; returns what it answers. */
  async deliver(updates) {
    const giveUp = Date.now() + PATIENCE_MS;
    for (;;) {
      try {
        const answer = await this.invoke('worker', { updates });
        if (answer.rejected) return answer;
        throw new Error(JSON.stringify(answer));
      } catch (error) {
        if (Date.now() > giveUp) throw error;
        await setTimeout(200);
      }
    }
  }

  /** What a function answers. */
  async invoke(name, payload) {
    const response = await fetch(`${this.url}/2015-03-31/functions/${name}/invocations`, {
      method: 'POST',
      body: JSON.stringify(payload),
    });
    return response.json();
  }

  job(id, status, facts = {}) {
    return this.send([{ kind: 'job', id, status, ...facts }]);
  }

  async read(path) {
    const response = await fetch(`${this.url}${path}`, {
      headers: { authorization: `Bearer ${this.token}` },
    });
    assert.equal(response.status, 200, path);
    return response.json();
  }

  /** A test's status by its id, as the log has it. */
  async statuses(run) {
    const response = await fetch(`${this.url}/api/test-status/events?runId=${run}`, {
      headers: { authorization: `Bearer ${this.token}` },
    });
    assert.equal(response.status, 200);
    const { total } = (await this.read(`/api/runs/${run}`)).tests;
    const statuses = new Map();
    let rest = '';
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      const lines = `${rest}${chunk}`.split('\n');
      rest = lines.pop();
      for (const line of lines) {
        const state = /^data: (.*"testId".*)/.exec(line);
        if (state) {
          const { testId, status } = JSON.parse(state[1]);
          statuses.set(testId, status);
        }
      }
      if (statuses.size === total) break;
    }
    return statuses;
  }

  /** Presses a button of the local stack. */
  press(path) {
    return fetch(`${this.url}${path}`, { method: 'POST', headers: { origin: this.url } });
  }
}

/** How many runs of the page run, and wait; and how many the queue says. */
export const standing = (page) =>
  page.evaluate(() => {
    const words = [...document.querySelectorAll('#running article > span > .sr-only')].map(({ textContent }) => textContent);
    const rows = ['running', 'waiting'].map((status) => words.filter((word) => word === status).length);
    const queue = [...document.querySelectorAll('#queue-strip b')].map(({ textContent }) => Number(textContent));
    return { rows, queue };
  });

/** Waits until a check passes; fails as it failed last. */
export async function eventually(check, patience = PATIENCE_MS) {
  const giveUp = Date.now() + patience;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > giveUp) throw error;
      await setTimeout(INTERVAL_MS);
    }
  }
}

/** Waits until the texts stand in what a selector finds. */
export function shows(page, selector, ...texts) {
  return eventually(async () => {
    assert.deepEqual(page.problems, []);
    const shown = await page.locator(selector).first().innerText({ timeout: 500 });
    for (const text of texts) assert.ok(shown.includes(text), `${text} in ${selector}:\n${shown}`);
    return shown;
  });
}

export const isLive = (page) =>
  eventually(async () => assert.equal(await page.locator('#connection').getAttribute('data-state'), 'open'));

/** The tests in the list by their status, whatever has to be scrolled for it. */
export async function listed(page) {
  const found = new Map();
  // One in the background is hardly drawn.
  await page.bringToFront();
  await page.evaluate('scrollTo(0, 0)');
  for (;;) {
    await page.evaluate('new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))');
    const { tests, isEnd } = await page.evaluate(() => {
      const shown = [...document.querySelectorAll('#tests [data-test]')];
      const isEnd = scrollY + innerHeight >= document.documentElement.scrollHeight - 2;
      scrollBy(0, innerHeight * 0.8);
      return { tests: shown.map(({ dataset }) => [dataset.test, dataset.state]), isEnd };
    });
    for (const [id, status] of tests) found.set(id, status);
    if (isEnd) return found;
  }
}
