import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { expect, test } from 'vitest';
import { projectOf } from './tool.ts';

const PACKAGE = path.dirname(import.meta.dirname);

test('what is published is complete, and has nothing else', async () => {
  const folder = projectOf('shards');
  const packed = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
    cwd: PACKAGE,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [{ filename, files }] = JSON.parse(packed.toString()) as [
    { filename: string; files: { path: string }[] },
  ];
  const others = files.map((file) => file.path).filter((file) => !/^dist\/\w+\.(js|d\.ts)$/.test(file));
  expect(others.toSorted()).toEqual(['LICENSE', 'README.md', 'package.json']);

  const installed = path.join(folder, 'node_modules/runcast-reporter');
  fs.rmSync(installed);
  fs.mkdirSync(installed);
  execFileSync('tar', ['xzf', path.join(folder, filename), '-C', installed, '--strip-components=1']);
  const { exports } = JSON.parse(fs.readFileSync(path.join(installed, 'package.json'), 'utf8'));
  const require = createRequire(path.join(folder, 'config.cjs'));
  for (const name of Object.keys(exports).filter((name) => name !== './package.json')) {
    const file = require.resolve(`runcast-reporter${name.slice(1)}`);
    const module = await import(file);
    expect(Object.values(module).some((value) => typeof value === 'function')).toBe(true);
    expect(fs.existsSync(file.replace(/js$/, 'd.ts'))).toBe(true);
  }
});

test('the examples of the pages are in the words of the package', () => {
  const known = Object.keys(JSON.parse(fs.readFileSync(path.join(PACKAGE, 'package.json'), 'utf8')).exports);
  for (const page of ['README.md', '../../docs/reporters.md']) {
    const text = fs.readFileSync(path.join(PACKAGE, page), 'utf8');
    const named = [...text.matchAll(/['"]runcast-reporter(\/\w+)?['"]/g)].map(
      ([, entry]) => `.${entry ?? ''}`,
    );
    expect(named.length).toBeGreaterThan(2);
    for (const entry of named) expect(known).toContain(entry);
  }
});
