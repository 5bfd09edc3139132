import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { hash, idOf } from '../src/hash.ts';
import { identityOf } from '../src/identity.ts';
import { RUNCAST } from './stack.ts';

const GITHUB = {
  GITHUB_SERVER_URL: 'https://github.com',
  GITHUB_REPOSITORY: 'acme/web',
  GITHUB_RUN_ID: '17',
  GITHUB_JOB: 'e2e',
  GITHUB_WORKFLOW: 'Tests & more',
  GITHUB_SHA: 'c0ffee',
  GITHUB_REF: 'refs/pull/5/merge',
  GITHUB_HEAD_REF: 'feature/x',
};
const GITLAB = { GITLAB_CI: 'true', CI_PIPELINE_ID: '9', CI_JOB_ID: '100', CI_JOB_NAME: 'e2e' };
const BUILDKITE = {
  BUILDKITE: 'true',
  BUILDKITE_BUILD_ID: 'b',
  BUILDKITE_STEP_ID: 's',
  BUILDKITE_PARALLEL_JOB: '2',
  BUILDKITE_PARALLEL_JOB_COUNT: '8',
};
const AZURE = {
  TF_BUILD: 'True',
  BUILD_BUILDID: '12',
  SYSTEM_PHASENAME: 'Job_1 ä',
  SYSTEM_JOBATTEMPT: '2',
  SYSTEM_JOBPOSITIONINPHASE: '1',
  SYSTEM_TOTALJOBSINPHASE: '3',
};

test('a re-run is a run of its own that names the one it repeats', () => {
  const [one, two, three] = ['1', '2', '3'].map((attempt) =>
    identityOf({ ...GITHUB, GITHUB_RUN_ATTEMPT: attempt }),
  );
  expect([one?.runId, one?.rerunOf]).toEqual(['github-17-e2e', undefined]);
  expect([two?.runId, two?.rerunOf]).toEqual(['github-17-2-e2e', 'github-17-e2e']);
  expect(three?.rerunOf).toBe('github-17-2-e2e');
  expect(three?.name).toBe('Tests & more / e2e');
  expect(three?.url).toBe('https://github.com/acme/web/actions/runs/17/attempts/3');
  expect(one?.labels).toEqual({ branch: 'feature/x', ci: 'github', commit: 'c0ffee', pr: '5' });
  expect(one?.jobId).toBe(two?.jobId);
});

interface Case {
  name: string;
  environment: Record<string, string>;
  shard?: [index: number, total: number];
  identity: Record<string, unknown> & { runId: string };
}

const { cases }: { cases: Case[] } = JSON.parse(
  readFileSync(new URL('../../identity.json', import.meta.url), 'utf8'),
);

test.each(cases)('the run is what all producers say: $name', ({ environment, shard, identity }) => {
  const said = identityOf(environment, shard && { index: shard[0], total: shard[1] });
  const [start = '', end] = identity.runId.split('*');
  if (end === undefined) expect(said.runId).toBe(start);
  else expect(said.runId).toMatch(new RegExp(`^${start}[0-9a-f]{16}${end}$`));
  const { jobId = null, name = null, url = null, labels, rerunOf = null } = said;
  const part = said.shard ? [said.shard.index, said.shard.total] : null;
  expect({ jobId, name, url, labels, rerunOf, shard: part, runId: identity.runId }).toEqual(identity);
});

test("a name of one's own comes before what the CI says", () => {
  const named = identityOf({ ...GITHUB, RUNCAST_RUN_ID: 'mine', GITHUB_RUN_ATTEMPT: '2' });
  expect([named.runId, named.rerunOf, named.labels.branch]).toEqual(['mine', undefined, 'feature/x']);
});

test('the parts of a parallel job are one run', () => {
  const part = (index: string) =>
    identityOf({ ...GITLAB, CI_JOB_NAME: `e2e ${index}/3`, CI_NODE_INDEX: index, CI_NODE_TOTAL: '3' });
  expect([part('1').runId, part('3').runId]).toEqual(['gitlab-9-e2e', 'gitlab-9-e2e']);
  expect(part('3').shard).toEqual({ index: 3, total: 3 });
});

test('a part that is run again is a run of its own, whoever says which it is', () => {
  const again = identityOf({ ...BUILDKITE, BUILDKITE_RETRY_COUNT: '1' });
  expect(again).toMatchObject({ runId: 'buildkite-b-s-2-3', shard: undefined, rerunOf: 'buildkite-b-s' });
  const shard = { index: 3, total: 8 };
  expect(identityOf(GITHUB, shard)).toMatchObject({ runId: 'github-17-e2e', shard });
  const alone = identityOf({ ...GITHUB, GITHUB_RUN_ATTEMPT: '2' }, shard);
  expect(alone).toMatchObject({ runId: 'github-17-2-3-e2e', shard: undefined, rerunOf: 'github-17-e2e' });
  // Who names the run says what it is.
  const named = identityOf({ ...GITHUB, GITHUB_RUN_ATTEMPT: '2', RUNCAST_RUN_ID: 'mine' }, shard);
  expect(named).toMatchObject({ runId: 'mine', shard });
});

test('without a CI each run is a new one', () => {
  const [one, two] = [identityOf({}), identityOf({ GITHUB_RUN_ID: '' })];
  expect(one.runId).toMatch(/^local-[0-9a-f]{16}$/);
  expect(one.runId).not.toBe(two.runId);
});

test("an id of any text is an id, and none is another's", () => {
  const texts = ['a b', 'a/b', 'ä', '', 'a-b', '🎭'.repeat(100), 'x'.repeat(300), `${'x'.repeat(299)}y`];
  const ids = texts.map(idOf);
  for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9_-]{1,128}$/);
  expect(new Set(ids).size).toBe(texts.length);
  expect(idOf('a-b')).toBe('a-b');
  expect(hash(['a', 'bc'])).not.toBe(hash(['ab', 'c']));
});

test.concurrent.each([
  ['GitHub', GITHUB],
  ['GitHub, again', { ...GITHUB, GITHUB_RUN_ATTEMPT: '3' }],
  ['GitHub, a job of another name', { ...GITHUB, GITHUB_JOB: 'end to end 🎭 ä' }],
  ['GitLab', GITLAB],
  ['GitLab, parallel', { ...GITLAB, CI_JOB_NAME: 'e2e: [a b] 2/3', CI_NODE_INDEX: '2', CI_NODE_TOTAL: '3' }],
  ['Jenkins', { JENKINS_URL: 'https://ci', JOB_NAME: 'folder/web', BUILD_NUMBER: '5' }],
  ['CircleCI', { CIRCLECI: 'true', CIRCLE_WORKFLOW_ID: 'w', CIRCLE_JOB: `j${'x'.repeat(200)}` }],
  ['Buildkite', BUILDKITE],
  ['Buildkite, again', { ...BUILDKITE, BUILDKITE_RETRY_COUNT: '1' }],
  ['Azure', AZURE],
  ['Azure, not parallel', { ...AZURE, SYSTEM_TOTALJOBSINPHASE: '1' }],
])('`runcast run` names it the same: %s', async (_, variables) => {
  const { PATH = '', HOME = '' } = process.env;
  // Nobody answers there: it says so, and runs all the same.
  const env = { PATH, HOME, RUNCAST_URL: 'http://127.0.0.1:9', RUNCAST_TOKEN: 'a.b.c', ...variables };
  const { stdout } = await promisify(execFile)(RUNCAST, ['run', '--', 'sh', '-c', 'echo "$RUNCAST_RUN_ID"'], {
    env,
  });
  expect(identityOf(variables).runId).toBe(stdout.trim());
});
