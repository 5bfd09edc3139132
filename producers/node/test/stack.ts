import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { TestProject } from 'vitest/node';

/** What `runcast up` says once it is ready. */
export interface Stack {
  url: string;
  token: string;
  writeToken: string;
  redisUrl: string;
}

declare module 'vitest' {
  export interface ProvidedContext {
    stack: Stack;
  }
}

export const RUNCAST = path.resolve(
  process.env.RUNCAST_BIN ?? path.join(import.meta.dirname, '../../../target/debug/runcast'),
);

/** One stack for all tests; each has a project of its own. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const state = fs.mkdtempSync(path.join(os.tmpdir(), 'runcast-'));
  const limits = { CONNECTS_PER_MINUTE: '10000', STREAMS_PER_SUBJECT: '200', UPDATES_PER_MINUTE: '1000000' };
  const child = spawn(RUNCAST, ['up', '--port', '0', '--state-dir', state], {
    env: { ...process.env, ...limits },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said = `${said}${chunk}`.slice(-10_000);
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const lines = createInterface(child.stdout);
  const line = await Promise.race([new Promise<string>((resolve) => lines.once('line', resolve)), ended]);
  if (!line) throw new Error(said);
  project.provide('stack', JSON.parse(line) as Stack);
  return async () => {
    child.kill();
    await ended;
    fs.rmSync(state, { recursive: true, force: true });
  };
}
