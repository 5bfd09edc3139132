import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { inject, onTestFinished } from 'vitest';

const PACKAGE = path.dirname(import.meta.dirname);

/** What became of a tool. */
export interface Outcome {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  /** Without the reporter's lines. */
  stderr: string;
  /** The reporter's lines. */
  said: string[];
  ms: number;
}

/** A project as one has it, with a suite of tests, the tool and the reporter. */
export function projectOf(suite: string, tool: Record<string, string> = {}): string {
  const folder = fs.mkdtempSync(path.join(fs.realpathSync(os.tmpdir()), 'suite-'));
  onTestFinished(() => fs.rmSync(folder, { recursive: true, force: true }));
  fs.cpSync(path.join(import.meta.dirname, 'suites', suite), folder, { recursive: true });
  const modules = path.join(folder, 'node_modules');
  fs.mkdirSync(modules);
  for (const name of fs.readdirSync(path.join(PACKAGE, 'node_modules'))) {
    if (name.startsWith('.')) continue;
    fs.symlinkSync(path.join(PACKAGE, 'node_modules', tool[name] ?? name), path.join(modules, name));
  }
  fs.symlinkSync(PACKAGE, path.join(modules, 'runcast-reporter'));
  return folder;
}

/** What a tool's environment says of the stack. */
export function reporting(
  projectId: string,
  runId: string,
  more: Record<string, string> = {},
): Record<string, string> {
  const { url, writeToken } = inject('stack');
  return {
    REPORTED: '1',
    RUNCAST_URL: url,
    RUNCAST_TOKEN: writeToken,
    RUNCAST_PROJECT: projectId,
    RUNCAST_RUN_ID: runId,
    ...more,
  };
}

/** Runs a tool of the registry in a project, in an environment that has nothing of this one's CI or tests. */
export function run(
  folder: string,
  command: string[],
  env: Record<string, string> = {},
  onStart: (kill: (signal: NodeJS.Signals) => void) => void = () => {},
): Promise<Outcome> {
  const [program = '', ...args] = command;
  const { PATH = '', HOME = '' } = process.env;
  const start = performance.now();
  const child = spawn(process.execPath, [path.join(folder, 'node_modules', program), ...args], {
    cwd: folder,
    env: { PATH, HOME, NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [out, err]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  onStart((signal) => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      const lines = Buffer.concat(err).toString().split('\n');
      resolve({
        code,
        signal,
        stdout: Buffer.concat(out).toString(),
        stderr: lines.filter((line) => !line.startsWith('runcast: ')).join('\n'),
        said: lines.filter((line) => line.startsWith('runcast: ')),
        ms: performance.now() - start,
      });
    });
  });
}
