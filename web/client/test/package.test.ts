import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import Ajv2020 from 'ajv/dist/2020.js';
import { createElement } from 'react';
import { renderToString } from 'react-dom/server';
import { build, type Rollup } from 'vite';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { jobState, queueStats, testState } from '../../testing/index.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const contract = JSON.parse(readFileSync(join(root, '../docs/openapi.json'), 'utf8'));

describe('the built package', () => {
  // Below the modules, where it finds React.
  const folder = mkdtempSync(join(root, 'node_modules/.built-'));
  const read = (file: string) => readFileSync(join(folder, file), 'utf8');
  afterAll(() => rmSync(folder, { recursive: true }));

  beforeAll(async () => {
    const configFile = join(root, 'vite.client.config.ts');
    await build({ configFile, logLevel: 'silent', root, build: { outDir: folder } });
  });

  /** What an application that imports no more than this has of it, as its bundler minifies it. */
  const sizeOf = async (names: string) => {
    const file = join(folder, 'application.js');
    writeFileSync(file, `export { ${names} } from './client.js';`);
    const built = (await build({
      configFile: false,
      logLevel: 'silent',
      root,
      publicDir: false,
      build: {
        write: false,
        modulePreload: false,
        rollupOptions: { input: file, preserveEntrySignatures: 'strict' },
      },
    })) as Rollup.RollupOutput;
    rmSync(file);
    const code = built.output.map((chunk) => ('code' in chunk ? chunk.code : '')).join('');
    expect(code).toContain('event-stream');
    return gzipSync(code, { level: 9 }).length;
  };

  it('has a core of 6 KiB at most, gzipped, and the documentation says how much', async () => {
    const core = await sizeOf('createClient');
    expect(core).toBeLessThanOrEqual(6_144);
    const all = await sizeOf(
      'createClient, isTerminal, listRuns, readTestArtifact, readRun, readRunHistory, watchRun',
    );
    const text = readFileSync(join(root, '../docs/client.md'), 'utf8');
    const [, ...said] = /core[^.]*?(\d,\d{3}) bytes[^.]*?(\d,\d{3})/.exec(text) ?? [];
    const [saidCore, saidAll] = said.map((number) => Number(number.replace(',', '')));
    // A few bytes are the compressor's.
    expect(Math.abs(core - Number(saidCore)), `${core} bytes`).toBeLessThan(15);
    expect(Math.abs(all - Number(saidAll)), `${all} bytes`).toBeLessThan(30);
  });

  it('says of the entry for React, and of no other, that it runs in the browser', () => {
    const clientOnly = readdirSync(folder).filter((file) => /^["']use client["'];/.test(read(file)));
    expect(clientOnly).toEqual(['react.js']);
  });

  it('renders on a server what is there before the first state, and opens nothing', async () => {
    const { RuncastProvider, useJobRun }: typeof import('../../react/index.ts') = await import(
      join(folder, 'react.js')
    );
    const fetch = vi.fn();
    const Run = () => createElement('p', null, useJobRun('r1').state?.status ?? 'loading');
    const app = createElement(RuncastProvider, { url: 'https://h', token: 't', fetch }, createElement(Run));
    expect(renderToString(app)).toBe('<p>loading</p>');
    expect(fetch).not.toHaveBeenCalled();
  });
});

it('the tarball has what a package has, and nothing else', () => {
  const npm = (...given: string[]) => execFileSync('npm', given, { cwd: root, encoding: 'utf8' });
  npm('run', 'build', '--silent');
  const [{ files }] = JSON.parse(npm('pack', '--dry-run', '--json', '--ignore-scripts'));
  const paths: string[] = files.map(({ path }: { path: string }) => path);
  expect(paths).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'package.json']));
  const built = paths.filter((path) => path.startsWith('dist-client/'));
  expect(paths.length - built.length).toBe(3);
  for (const path of built) expect(path).toMatch(/\.(js|js\.map|d\.ts)$/);
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  for (const entry of Object.values<Record<string, string>>(manifest.exports)) {
    for (const path of Object.values(entry)) expect(paths).toContain(path.slice(2));
  }
  // Each file with code in it can be read in a debugger.
  for (const path of built.filter((path) => /\/[^/]+-[^/]+\.js$|(react|testing)\.js$/.test(path))) {
    expect(paths).toContain(`${path}.map`);
    const { sourcesContent } = JSON.parse(readFileSync(join(root, `${path}.map`), 'utf8'));
    expect(sourcesContent.join('')).toContain('/**');
  }
  expect(manifest).toMatchObject({ license: 'MIT', repository: { directory: 'web' } });
  expect(manifest.homepage).toMatch(/^https:/);
  expect(manifest.dependencies).toBeUndefined();
}, 120_000);

it('the types are those of the contract', () => {
  const folder = mkdtempSync(join(tmpdir(), 'types-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const run = (command: string, ...rest: string[]) =>
    execFileSync(join(root, 'node_modules/.bin', command), rest, { cwd: root, encoding: 'utf8' });
  const flags = ['--root-types', '--root-types-no-schema-prefix'];
  run('openapi-typescript', '../docs/openapi.json', '-o', join(folder, 'schema.ts'), ...flags);
  const formatted = execFileSync(
    join(root, 'node_modules/.bin/biome'),
    ['format', '--stdin-file-path=client/schema.ts'],
    { cwd: root, encoding: 'utf8', input: readFileSync(join(folder, 'schema.ts')) },
  );
  expect(readFileSync(join(root, 'client/schema.ts'), 'utf8')).toBe(formatted);
}, 120_000);

it('what the documentation shows compiles', () => {
  const folder = mkdtempSync(join(root, 'node_modules/.snippets-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const text = readFileSync(join(root, '../docs/client.md'), 'utf8');
  const snippets = [...text.matchAll(/```tsx?\n(.*?)```/gs)].map(([, code]) => code ?? '');
  expect(snippets.length).toBeGreaterThan(2);
  snippets.forEach((code, index) => {
    writeFileSync(join(folder, `${index}.tsx`), code);
  });
  const extended = { extends: '../../tsconfig.json', include: ['*.tsx'], exclude: [] };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(extended));
  const { stdout, status } = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', folder], {
    encoding: 'utf8',
  });
  expect(stdout).toBe('');
  expect(status).toBe(0);
}, 120_000);

it('the states of the testing entry are those of the contract, where nothing is ever missing', () => {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  ajv.addSchema(contract, 'contract');
  const check = (name: string, data: unknown) => ajv.validate(`contract#/components/schemas/${name}`, data);
  expect(check('JobState', jobState({ runId: 'r' }))).toBe(true);
  expect(check('TestState', testState({ testId: 't' }))).toBe(true);
  expect(check('QueueStats', queueStats())).toBe(true);
  for (const field of Object.keys(jobState({ runId: 'r' }))) {
    const { [field as 'seq']: _, ...rest } = jobState({ runId: 'r' });
    expect(check('JobState', rest), field).toBe(false);
  }
  const update = {
    eventId: 'e',
    kind: 'job',
    id: 'r',
    organizationId: 'o',
    projectId: 'p',
    status: 'In_Progress',
  };
  expect(check('Update', update)).toBe(true);
  expect(check('Update', { ...update, status: 'flying' })).toBe(false);
});
