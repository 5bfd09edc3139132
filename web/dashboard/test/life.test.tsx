import { cleanup, render } from '@testing-library/react';
import { testState } from 'runcast-client/testing';
import { afterEach, expect, it } from 'vitest';
import { Labels } from '../src/life.tsx';

afterEach(cleanup);

const state = testState({
  testId: 't',
  labels: { branch: 'main', browser: 'webkit', shard: '1/2', worker: '0' },
});

it('in a list, what its run says already, and where it ran, are no news', () => {
  const { container } = render(<Labels state={state} known={{ branch: 'main' }} />);
  expect(container.textContent).toBe('browser webkit');
});

it('on its own, all are told', () => {
  const { container } = render(<Labels state={state} />);
  expect(container.textContent).toBe('branch mainbrowser webkitshard 1/2worker 0');
});
