import { act, cleanup, render, renderHook, waitFor } from '@testing-library/react';
import { type ComponentType, type ReactNode, StrictMode, useState, version } from 'react';
import { renderToString } from 'react-dom/server';
import { afterEach, expect, it, vi } from 'vitest';
import { createClient, type JobState } from '../../client/index.ts';
import { scriptedStream } from '../../testing/index.ts';
import {
  JobProvider,
  type Jobs,
  RuncastProvider,
  useConnection,
  useJobRun,
  useJobRuns,
  useJobs,
  useQueueStats,
  useTestStatus,
} from '../index.ts';

afterEach(cleanup);

function network() {
  const stream = scriptedStream();
  const client = createClient({ fetch: stream.fetch, random: () => 0, shareKey: false });
  const wrapper = ({ children }: { children: ReactNode }) => (
    <StrictMode>
      <RuncastProvider client={client}>{children}</RuncastProvider>
    </StrictMode>
  );
  return { stream, client, wrapper };
}

/** The job runs of a project: what is shown of them, and a switch to mount and unmount their provider. */
function mountable(wrapper: ComponentType<{ children: ReactNode }>, onComplete: (run: JobState) => void) {
  let jobs: Jobs | undefined;
  let switchTo: (isMounted: boolean) => void = () => {};
  const Shown = () => {
    jobs = useJobs();
    return null;
  };
  const App = () => {
    const [isMounted, setMounted] = useState(true);
    switchTo = setMounted;
    return isMounted ? (
      <JobProvider projectId="p" onComplete={onComplete}>
        <Shown />
      </JobProvider>
    ) : null;
  };
  render(<App />, { wrapper });
  return { mount: (isMounted: boolean) => switchTo(isMounted), shown: () => jobs as Jobs };
}

it('runs in the React that it says', ({ task }) => {
  expect(task.file.projectName).toBe(`react ${version.split('.')[0]}`);
});

it('a run is followed from waiting to passed, on one stream, under StrictMode', async () => {
  const { stream, wrapper } = network();
  const { result } = renderHook(() => [useJobRun('r'), useJobRun('r')] as const, { wrapper });
  expect(result.current[0].state).toBeUndefined();
  await waitFor(() => expect(result.current[0].state?.status).toBe('waiting'));
  act(() => void stream.job({ runId: 'r', status: 'running' }));
  await waitFor(() => expect(result.current[1].state?.status).toBe('running'));
  act(() => void stream.job({ runId: 'r', status: 'passed' }));
  await waitFor(() =>
    expect(result.current[0]).toMatchObject({ end: 'complete', state: { status: 'passed' } }),
  );
  expect(stream.requests).toHaveLength(1);
});

it('nothing is left after unmounting', async () => {
  const { stream, client, wrapper } = network();
  const { result, unmount } = renderHook(
    () => [useTestStatus('t'), useQueueStats(), useConnection()] as const,
    {
      wrapper,
    },
  );
  await waitFor(() => expect(result.current[0].state?.testId).toBe('t'));
  await waitFor(() => expect(result.current[1].state?.runningCapacity).toBe(5));
  expect(result.current[2].state).toBe('open');
  unmount();
  await waitFor(() => expect(stream.open).toBe(0));
  expect(stream.closed).toHaveLength(2);
  expect(client.connection.snapshot.state).toBe('idle');
});

it('a component that is mounted again gets the state again', async () => {
  const { stream, wrapper } = network();
  stream.job({ runId: 'r', status: 'running' });
  const first = renderHook(() => useJobRun('r'), { wrapper });
  await waitFor(() => expect(first.result.current.state?.seq).toBe(1));
  first.unmount();
  const second = renderHook(() => useJobRun('r'), { wrapper });
  await waitFor(() => expect(second.result.current.state?.seq).toBe(1));
});

it('references change only with what they stand for', async () => {
  const { stream, wrapper } = network();
  const { result, rerender } = renderHook(() => [useJobRuns(['a', 'b']), useConnection()] as const, {
    wrapper,
  });
  await waitFor(() => expect(result.current[0].get('b')?.state?.seq).toBe(0));
  const [before, connection] = result.current;
  rerender();
  expect(result.current[0]).toBe(before);
  expect(result.current[1]).toBe(connection);
  act(() => void stream.job({ runId: 'b', status: 'running' }));
  await waitFor(() => expect(result.current[0].get('b')?.state?.seq).toBe(1));
  expect(result.current[0].get('a')).toBe(before.get('a'));
});

it('runs that stay in the list keep their state, and others come and go', async () => {
  const { stream, wrapper } = network();
  stream.job({ runId: 'b', status: 'running' });
  const { result, rerender } = renderHook(({ ids }) => useJobRuns(ids), {
    wrapper,
    initialProps: { ids: ['a', 'b'] },
  });
  await waitFor(() => expect(result.current.get('b')?.state?.seq).toBe(1));
  rerender({ ids: ['b', 'c'] });
  expect(result.current.get('b')?.state?.seq).toBe(1);
  await waitFor(() => expect(result.current.get('c')?.state?.seq).toBe(0));
  expect([...result.current.keys()]).toEqual(['b', 'c']);
});

it('a run that is refused is an error', async () => {
  const { stream, wrapper } = network();
  stream.answer(404, 'not yours');
  const { result } = renderHook(() => useJobRun('r'), { wrapper });
  await waitFor(() => expect(result.current.error?.message).toBe('not yours'));
});

it('what is not an id is an error', async () => {
  const { wrapper } = network();
  const { result } = renderHook(() => useJobRun(''), { wrapper });
  await waitFor(() => expect(result.current.error?.status).toBe(400));
});

it('onComplete is called once for each run: across reconnects, remounts and StrictMode', async () => {
  const { stream, wrapper } = network();
  const done: string[] = [];
  const onComplete = vi.fn((run: JobState) => done.push(`${run.runId} ${run.status}`));
  stream.job({ runId: 'old', status: 'failed' });
  stream.job({ runId: 'a', status: 'running' });
  stream.job({ runId: 'b', status: 'running' });
  const { mount, shown } = mountable(wrapper, (run) => onComplete(run));
  await waitFor(() => expect(shown().isAnyJobRunning).toBe(true));
  stream.drop();
  act(() => void stream.job({ runId: 'a', status: 'passed' }));
  await waitFor(() => expect(done).toEqual(['a passed']));

  act(() => mount(false));
  await waitFor(() => expect(stream.open).toBe(0));
  act(() => void stream.job({ runId: 'b', status: 'failed' }));
  act(() => mount(true));
  await waitFor(() => expect(done).toEqual(['a passed', 'b failed']));
  await waitFor(() => expect(shown().isAnyJobRunning).toBe(false));

  act(() => mount(false));
  await waitFor(() => expect(stream.open).toBe(0));
  act(() => mount(true));
  await waitFor(() => expect(stream.open).toBe(1));
  // A run that is new, and over in a moment.
  act(() => void stream.job({ runId: 'c', status: 'running' }));
  act(() => void stream.job({ runId: 'c', status: 'cancelled' }));
  await waitFor(() => expect(done).toEqual(['a passed', 'b failed', 'c cancelled']));
  expect(onComplete).toHaveBeenCalledTimes(3);
});

it('a run that finished long before a remount is told, and counts as running no more', async () => {
  const { stream, wrapper } = network();
  stream.job({ runId: 'a', status: 'running' });
  const done: string[] = [];
  const jobs = mountable(wrapper, (run) => done.push(`${run.runId} ${run.status}`));
  await waitFor(() => expect(jobs.shown().isAnyJobRunning).toBe(true));
  act(() => jobs.mount(false));
  await waitFor(() => expect(stream.open).toBe(0));
  stream.job({ runId: 'a', status: 'passed' });
  // More than a project's stream begins with.
  for (let n = 0; n < 20; n++) stream.job({ runId: `later-${n}`, status: 'passed' });
  act(() => jobs.mount(true));
  await waitFor(() => expect(done).toEqual(['a passed']));
  await waitFor(() => expect(jobs.shown().isAnyJobRunning).toBe(false));
  // What was asked for each run by itself, is over.
  await waitFor(() => expect(stream.open).toBe(1));
});

it('a run that is opened again is told once more when it ends again, and what is added later is not', async () => {
  const { stream, wrapper } = network();
  stream.job({ runId: 'seen', status: 'failed' });
  stream.job({ runId: 'a', status: 'running' });
  const done: string[] = [];
  const { mount, shown } = mountable(wrapper, (run) =>
    done.push(`${run.runId} ${run.attempt} ${run.status}`),
  );
  await waitFor(() => expect(shown().isAnyJobRunning).toBe(true));
  act(() => void stream.job({ runId: 'a', status: 'failed' }));
  act(() => void stream.job({ runId: 'a', status: 'failed', artifactPaths: ['trace.zip'] }));
  await waitFor(() => expect(done).toEqual(['a 1 failed']));
  act(() => void stream.job({ runId: 'a', status: 'running', attempt: 2 }));
  await waitFor(() => expect(shown().isAnyJobRunning).toBe(true));
  act(() => void stream.job({ runId: 'a', status: 'passed', attempt: 2 }));
  // One that had ended when it was first seen, and whose second attempt nobody saw begin.
  act(() => void stream.job({ runId: 'seen', status: 'passed', attempt: 2 }));
  await waitFor(() => expect(done).toEqual(['a 1 failed', 'a 2 passed', 'seen 2 passed']));
  expect(shown().isAnyJobRunning).toBe(false);

  act(() => mount(false));
  await waitFor(() => expect(stream.open).toBe(0));
  stream.job({ runId: 'a', status: 'running', attempt: 3 });
  stream.job({ runId: 'a', status: 'cancelled', attempt: 3 });
  act(() => mount(true));
  await waitFor(() => expect(done.slice(3)).toEqual(['a 3 cancelled']));
});

it('isComplete follows the newest state', async () => {
  const { stream, wrapper } = network();
  stream.job({ runId: 'other', status: 'running' });
  stream.job({ runId: 'r', status: 'running' });
  const { result } = renderHook(() => [useJobRun('r'), useJobRun('other'), useQueueStats()] as const, {
    wrapper,
  });
  await waitFor(() => expect(result.current[0].state?.seq).toBe(1));
  await waitFor(() => expect(result.current[2].state).toBeDefined());
  expect(result.current.map(({ isComplete }) => isComplete)).toEqual([false, false, false]);
  act(() => void stream.job({ runId: 'r', status: 'error' }));
  await waitFor(() => expect(result.current[0].isComplete).toBe(true));
  act(() => void stream.job({ runId: 'r', status: 'running', attempt: 2 }));
  await waitFor(() => expect(result.current[0].isComplete).toBe(false));
  act(() => void stream.job({ runId: 'r', status: 'skipped', attempt: 2 }));
  await waitFor(() => expect(result.current[0]).toMatchObject({ isComplete: true, end: 'complete' }));
});

it('runs that a reset has made unknown are running no more', async () => {
  const { stream, wrapper } = network();
  stream.job({ runId: 'a', status: 'running' });
  const done = vi.fn();
  const jobs = mountable(wrapper, done);
  await waitFor(() => expect([...jobs.shown().running.keys()]).toEqual(['a']));
  act(() => stream.reset());
  act(() => void stream.job({ runId: 'b', status: 'running' }));
  await waitFor(() => expect([...jobs.shown().running.keys()]).toEqual(['b']));
  expect(done).not.toHaveBeenCalled();
});

it('an error is shown no more once it is tried again', async () => {
  const { stream, wrapper } = network();
  stream.job({ runId: 'b', status: 'running' });
  const { result } = renderHook(() => useJobRuns(['b']), { wrapper });
  await waitFor(() => expect(result.current.get('b')?.state?.seq).toBe(1));
  stream.answer(404, 'not now');
  act(() => stream.drop());
  await waitFor(() => expect(result.current.get('b')?.error?.message).toBe('not now'));
  act(() => result.current.get('b')?.retry());
  await waitFor(() => expect(result.current.get('b')).toMatchObject({ state: { seq: 1 }, error: undefined }));
});

it('the error of a project without runs is shown no more once it is watched again', async () => {
  const { stream, wrapper } = network();
  stream.answer(404, 'not yours');
  const jobs = mountable(wrapper, () => {});
  await waitFor(() => expect(jobs.shown().error?.message).toBe('not yours'));
  act(() => jobs.mount(false));
  act(() => jobs.mount(true));
  await waitFor(() => expect(stream.open).toBe(1));
  expect(jobs.shown().error).toBeUndefined();
});

it('the jobs of a project that was refused are watched again by retry', async () => {
  const { stream, wrapper } = network();
  stream.job({ runId: 'a', status: 'running' });
  stream.answer(404, 'not yours');
  const jobs = mountable(wrapper, () => {});
  await waitFor(() => expect(jobs.shown().error?.message).toBe('not yours'));
  act(() => jobs.shown().retry());
  expect(jobs.shown().error).toBeUndefined();
  await waitFor(() => expect([...jobs.shown().running.keys()]).toEqual(['a']));
});

it('the server renders what is there before the first state, and opens nothing', () => {
  const fetch = vi.fn();
  const Page = () => {
    const run = useJobRun('r');
    const [runs, stats, connection, jobs] = [useJobRuns(['r']), useQueueStats(), useConnection(), useJobs()];
    return (
      <p>
        {[run.state?.status ?? 'none', runs.size, stats.end ?? '-', connection.state, jobs.running.size].join(
          ' ',
        )}
      </p>
    );
  };
  const html = renderToString(
    <RuncastProvider url="" token="t" fetch={fetch}>
      <JobProvider projectId="p">
        <Page />
      </JobProvider>
    </RuncastProvider>,
  );
  expect(html).toBe('<p>none 1 - idle 0</p>');
  expect(fetch).not.toHaveBeenCalled();
});
