import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import Ajv2020 from 'ajv/dist/2020.js';
import { build, type Rollup } from 'vite';
import { expect, it, onTestFinished } from 'vitest';
import { jobState, queueStats, testState } from '../../testing/index.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const contract = JSON.parse(readFileSync(join(root, '../docs/openapi.json'), 'utf8'));

it('the client is under 6.5 KB gzipped, with its dependencies', async () => {
  const built = (await build({
    configFile: false,
    logLevel: 'silent',
    root,
    publicDir: false,
    build: {
      write: false,
      modulePreload: false,
      rollupOptions: { input: 'client/index.ts', preserveEntrySignatures: 'strict' },
    },
  })) as Rollup.RollupOutput;
  const code = built.output.map((chunk) => ('code' in chunk ? chunk.code : '')).join('');
  expect(code).toContain('event-stream');
  expect(gzipSync(code, { level: 9 }).length).toBeLessThan(6500);
});

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
}, 30_000);

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
}, 30_000);

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
