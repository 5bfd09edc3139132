import { jobState, testState } from 'runcast-client/testing';
import { expect, it } from 'vitest';
import { sourceOf } from '../src/source.ts';

const GITHUB = 'https://github.com/acme/shop/actions/runs/4711';

const source = (given: { url?: string; commit?: string; file?: string; line?: number | null }) => {
  const { url = GITHUB, commit = '8c1d2e0', file = 'e2e/cart.spec.ts', line = 9 } = given;
  return sourceOf(jobState({ runId: 'r', url, labels: { commit } }), testState({ testId: 't', file, line }));
};

it('is the file at the commit, on GitHub and on GitLab, wherever these are', () => {
  expect(source({})).toBe('https://github.com/acme/shop/blob/8c1d2e0/e2e/cart.spec.ts#L9');
  expect(source({ url: 'https://git.acme.example/a/b/shop/-/pipelines/12' })).toBe(
    'https://git.acme.example/a/b/shop/-/blob/8c1d2e0/e2e/cart.spec.ts#L9',
  );
  expect(source({ file: 'e2e/the cart#1.ts', line: null })).toBe(
    'https://github.com/acme/shop/blob/8c1d2e0/e2e/the%20cart%231.ts',
  );
});

it('is nowhere where it is not said, or no part of the repository', () => {
  expect(source({ url: 'https://ci.example.com/1' })).toBeUndefined();
  expect(source({ url: 'javascript:alert(1)//github.com/a/b/actions/runs/1' })).toBeUndefined();
  expect(source({ commit: 'main' })).toBeUndefined();
  for (const file of ['/home/ci/cart.ts', 'C:\\cart.ts', '../cart.ts', ''])
    expect(source({ file })).toBeUndefined();
});
