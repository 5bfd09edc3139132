// `runcast demo`, as its page shows it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { launch } from './browser.mjs';
import { checkout, eventually, standing } from './world.mjs';

test('two scenes at once share a queue, whose numbers are those of their runs', async () => {
  const binary = process.env.RUNCAST ?? `${checkout}/target/debug/runcast`;
  const demo = spawn(binary, ['demo', '--port', '0'], { stdio: ['ignore', 'ignore', 'pipe'] });
  const browser = await launch();
  try {
    const lines = createInterface({ input: demo.stderr });
    const url = await new Promise((found) => {
      lines.on('line', (line) => {
        const address = /watch it at (\S+)/.exec(line)?.[1];
        if (address) found(address);
      });
    });
    const scene = await fetch(`${url}/_local/scene`, { method: 'POST', headers: { origin: url } });
    assert.equal(scene.status, 202);
    const page = await browser.newPage({ viewport: { width: 1280, height: 1600 } });
    await page.goto(url);
    await eventually(async () => {
      const { rows, queue } = await standing(page);
      assert.ok(rows[0] + rows[1] > 7, 'of both');
      assert.deepEqual(queue, rows);
      assert.ok(rows[0] <= 4);
    });
  } finally {
    await browser.close();
    demo.kill();
    await once(demo, 'exit');
  }
});
