import { act, cleanup, render, renderHook, waitFor } from '@testing-library/react';
import { type ReactNode, StrictMode } from 'react';
import { renderToString } from 'react-dom/server';
import { afterEach, expect, it, vi } from 'vitest';
import { createClient } from '../../client/index.ts';
import { jobState, scriptedStream } from '../../testing/index.ts';
import {
  type MaybeId,
  RuncastProvider,
  useJobRun,
  useProjectRuns,
  useProjectTests,
  useQueueStats,
  useRun,
  useRunHistory,
  useTestStatus,
} from '../index.ts';

vi.spyOn(console, 'warn').mockImplementation(() => {});

afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

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

const ids = (runs: readonly { runId: string }[]) => runs.map(({ runId }) => runId).join(' ');
const at = (second: number) => new Date(Date.UTC(2026, 0, 31, 12, 0, second)).toISOString();

it('useRun has a run and its tests, and ends with it', async () => {
  const { stream, wrapper } = network();
  stream.test({ testId: 'a', runId: 'r', status: 'running' });
  stream.test({ testId: 'b', runId: 'r', status: 'failed' });
  stream.job({ runId: 'r', status: 'running' });
  const { result } = renderHook(() => useRun('r'), { wrapper });
  await waitFor(() => expect(result.current.state?.isLoading).toBe(false));
  const { state } = result.current;
  expect([...(state?.tests.keys() ?? [])]).toEqual(['a', 'b']);
  act(() => {
    stream.test({ testId: 'a', runId: 'r', status: 'passed' });
    stream.job({ runId: 'r', status: 'failed' });
  });
  await waitFor(() => expect(result.current).toMatchObject({ isComplete: true, end: 'complete' }));
  expect(result.current.state?.tests.get('a')?.status).toBe('passed');
  expect(result.current.state?.tests.get('b')).toBe(state?.tests.get('b'));
});

it('a run that is watched again is shown until all of it is there anew', async () => {
  const { stream, wrapper } = network();
  stream.test({ testId: 'a', runId: 'r', status: 'passed' });
  stream.job({ runId: 'r', status: 'passed' });
  const shown: (string | undefined)[] = [];
  const { result } = renderHook(
    () => {
      const watched = useRun('r');
      shown.push([...(watched.state?.tests.keys() ?? [])].join());
      return watched;
    },
    { wrapper },
  );
  await waitFor(() => expect(result.current.end).toBe('complete'));
  stream.test({ testId: 'b', runId: 'r', status: 'running' });
  stream.job({ runId: 'r', status: 'running', attempt: 2 });
  act(() => result.current.retry());
  await waitFor(() => expect(result.current.state?.run.attempt).toBe(2));
  // What was not finished comes first.
  expect(new Set(shown)).toEqual(new Set(['', 'a', 'b,a']));
  expect(shown.lastIndexOf('')).toBeLessThan(shown.indexOf('a'));
});

it('without an id nothing is watched, and with another one that is', async () => {
  const { stream, wrapper } = network();
  const { result, rerender } = renderHook(
    ({ id }: { id: MaybeId }) =>
      [useRun(id), useRunHistory(id), useProjectRuns(id), useProjectTests(id)] as const,
    { wrapper, initialProps: { id: undefined as MaybeId } },
  );
  await new Promise((resolve) => setTimeout(resolve, 80));
  expect(stream.requests).toEqual([]);
  expect(result.current[2]).toMatchObject({ runs: [], isLoading: false });
  rerender({ id: 'r' });
  await waitFor(() => expect(result.current[0].state?.run.runId).toBe('r'));
  rerender({ id: null });
  expect(result.current[0].state).toBeUndefined();
  await waitFor(() => expect(stream.open).toBe(0));
});

it('an initial state shows until there is another, also on a server', async () => {
  const { stream, client, wrapper } = network();
  const initialState = jobState({ runId: 'r', status: 'passed', seq: 3 });
  const Run = () => <p>{useJobRun('r', { initialState }).state?.seq}</p>;
  expect(
    renderToString(
      <RuncastProvider client={client}>
        <Run />
      </RuncastProvider>,
    ),
  ).toBe('<p>3</p>');
  for (let n = 0; n < 4; n++) stream.job({ runId: 'r', status: 'running' });
  const { result } = renderHook(() => useJobRun('r', { initialState }), { wrapper });
  expect(result.current).toMatchObject({ state: { seq: 3 }, isComplete: true });
  await waitFor(() => expect(result.current).toMatchObject({ state: { seq: 4 }, isComplete: false }));
});

it('what was refused is watched again by retry', async () => {
  const { stream, wrapper } = network();
  stream.answer(404, 'not yours');
  const { result } = renderHook(() => useTestStatus('t'), { wrapper });
  await waitFor(() => expect(result.current.error?.message).toBe('not yours'));
  const { retry } = result.current;
  act(() => retry());
  expect(result.current.error).toBeUndefined();
  await waitFor(() => expect(result.current.state?.testId).toBe('t'));
  expect(result.current.retry).toBe(retry);
});

it('the runs of a project: live, and past ones a page at a time', async () => {
  const { stream, wrapper } = network();
  for (let n = 0; n < 9; n++) {
    stream.job({ runId: `r${n}`, status: 'passed', completedAt: at(n) }, 'p');
  }
  stream.job({ runId: 'now', status: 'running', startedAt: at(20) }, 'p');
  stream.job({ runId: 'elsewhere', status: 'running' }, 'q');
  const { result } = renderHook(() => useProjectRuns('p', { limit: 3 }), { wrapper });
  expect(result.current).toMatchObject({ runs: [], isLoading: true });
  await waitFor(() => expect(ids(result.current.runs)).toBe('now r8 r7 r6'));
  expect(result.current).toMatchObject({ isLoading: false, hasMore: true });
  act(() => result.current.loadMore());
  expect(result.current.isLoadingMore).toBe(true);
  await waitFor(() => expect(ids(result.current.runs)).toBe('now r8 r7 r6 r5 r4 r3'));
  act(() => void stream.job({ runId: 'now', status: 'failed', completedAt: at(30) }, 'p'));
  await waitFor(() => expect(result.current.runs[0]).toMatchObject({ runId: 'now', status: 'failed' }));
  act(() => void stream.job({ runId: 'new', status: 'running', startedAt: at(40) }, 'p'));
  await waitFor(() => expect(ids(result.current.runs)).toBe('new now r8 r7 r6 r5 r4 r3'));
  act(() => result.current.loadMore());
  await waitFor(() => expect(result.current).toMatchObject({ hasMore: false, isLoadingMore: false }));
  expect(ids(result.current.runs)).toBe('new now r8 r7 r6 r5 r4 r3 r2 r1 r0');
  // One stream, and each page read once.
  await waitFor(() => expect(stream.open).toBe(1));
});

it('the runs of a project by status and text, as they are now', async () => {
  const { stream, wrapper } = network();
  stream.job({ runId: 'a', status: 'failed', name: 'Nightly build', completedAt: at(1) });
  stream.job({ runId: 'b', status: 'failed', name: 'Other', completedAt: at(2) });
  stream.job({ runId: 'c', status: 'passed', labels: { suite: 'nightly' }, completedAt: at(3) });
  stream.job({ runId: 'd', status: 'running', name: 'nightly again' });
  const { result, rerender } = renderHook(
    (options: Parameters<typeof useProjectRuns>[1]) => useProjectRuns('p', options),
    {
      wrapper,
      initialProps: { search: 'NIGHTLY' } as Parameters<typeof useProjectRuns>[1],
    },
  );
  await waitFor(() => expect(ids(result.current.runs)).toBe('d c a'));
  rerender({ search: 'NIGHTLY', status: ['failed', 'error'] });
  await waitFor(() => expect(ids(result.current.runs)).toBe('a'));
  act(() => void stream.job({ runId: 'd', status: 'error', name: 'nightly again', completedAt: at(9) }));
  await waitFor(() => expect(ids(result.current.runs)).toBe('d a'));
  act(() => void stream.job({ runId: 'd', status: 'running', attempt: 2, name: 'nightly again' }));
  await waitFor(() => expect(ids(result.current.runs)).toBe('a'));
});

it('a page that cannot be read is read again, and the error passes', async () => {
  const { stream, client, wrapper } = network();
  stream.job({ runId: 'a', status: 'passed', completedAt: at(1) });
  // So that the next answer is that of the read, and not of a stream.
  client.watchProject({ projectId: 'p', kind: 'job' });
  await waitFor(() => expect(stream.open).toBe(1));
  stream.answer(503, 'Postgres is away.');
  const { result } = renderHook(() => useProjectRuns('p'), {
    wrapper: ({ children }) => <RuncastProvider client={client}>{children}</RuncastProvider>,
  });
  await waitFor(() => expect(result.current.error?.message).toBe('Postgres is away.'));
  await waitFor(() => expect(result.current).toMatchObject({ isLoading: false, error: undefined }), {
    timeout: 3_000,
  });
  expect(ids(result.current.runs)).toBe('a');
  expect(wrapper).toBeDefined();
});

it('after a reset the runs of a project are read anew', async () => {
  const { stream, wrapper } = network();
  for (let n = 0; n < 3; n++) stream.job({ runId: `old${n}`, status: 'passed', completedAt: at(n) });
  const { result } = renderHook(() => useProjectRuns('p'), { wrapper });
  await waitFor(() => expect(ids(result.current.runs)).toBe('old2 old1 old0'));
  act(() => stream.reset());
  act(() => void stream.job({ runId: 'new', status: 'running' }));
  await waitFor(() => expect(ids(result.current.runs)).toBe('new'));
});

it('the tests of a project, and that there are none', async () => {
  const { stream, wrapper } = network();
  const { result } = renderHook(() => useProjectTests('p'), { wrapper });
  expect(result.current.isLoading).toBe(true);
  await waitFor(() => expect(result.current).toMatchObject({ tests: [], isLoading: false }));
  act(() => {
    stream.test({ testId: 'a', status: 'running' });
    stream.test({ testId: 'b', status: 'running' });
    stream.test({ testId: 'a', status: 'passed' });
  });
  await waitFor(() => expect(result.current.tests.map(({ testId }) => testId)).toEqual(['a', 'b']));
});

it('a history is read once, a page at a time, and goes on by the stream that all share', async () => {
  const { stream, wrapper } = network();
  for (let n = 0; n < 450; n++) stream.job({ runId: 'r', status: 'running' });
  const { result } = renderHook(() => [useRunHistory('r'), useJobRun('r')] as const, { wrapper });
  await waitFor(() => expect(result.current[0]).toMatchObject({ isLoading: false, events: { length: 450 } }));
  const before = result.current[0].events;
  for (let n = 0; n < 10; n++)
    act(() => void stream.job({ runId: 'r', status: n < 9 ? 'running' : 'passed' }));
  await waitFor(() => expect(result.current[0].events).toHaveLength(460));
  expect(result.current[0].events.map(({ seq }) => seq)).toEqual(
    Array.from({ length: 460 }, (_, n) => n + 1),
  );
  expect(result.current[0].events[17]).toBe(before[17]);
  expect(stream.requests).toHaveLength(1);
  // StrictMode mounts twice, and the first reading is given up.
  const pages = stream.reads.map(({ url }) => new URL(url, 'http://h').searchParams.get('after'));
  expect(pages.slice(-3)).toEqual([null, '200', '400']);
});

it('a history of a run that nobody has reported is empty, and known to be', async () => {
  const { stream, wrapper } = network();
  const { result } = renderHook(() => useRunHistory('r'), { wrapper });
  await waitFor(() => expect(result.current).toMatchObject({ events: [], isLoading: false }));
  act(() => void stream.job({ runId: 'r', status: 'running' }));
  await waitFor(() => expect(result.current.events).toHaveLength(1));
});

it('a list of ten thousand draws the rows that have changed', async () => {
  const { stream, client } = network();
  const counts = {
    waiting: 0,
    completed: 0,
    failed: 0,
    error: 0,
    cancelled: 0,
    skipped: 0,
    flaky: 0,
    passed: 0,
  };
  stream.tests(
    Array.from({ length: 10_000 }, (_, n) => ({ testId: `t${n}`, runId: 'r', status: 'running' as const })),
  );
  stream.job({ runId: 'r', status: 'running', tests: { ...counts, total: 10_000, running: 10_000 } });
  const { result } = renderHook(() => useRun('r'), {
    wrapper: ({ children }) => <RuncastProvider client={client}>{children}</RuncastProvider>,
  });
  await waitFor(() => expect(result.current.state?.isLoading).toBe(false), { timeout: 20_000 });
  const before = result.current.state?.tests;
  act(() => {
    stream.tests(['t5', 't9000'].map((testId) => ({ testId, runId: 'r', status: 'passed' as const })));
    stream.job({
      runId: 'r',
      status: 'running',
      tests: { ...counts, total: 10_000, running: 9_998, passed: 2 },
    });
  });
  await waitFor(() => expect(result.current.state?.tests.get('t5')?.status).toBe('passed'));
  const changed = [...(result.current.state?.tests ?? [])].filter(([id, test]) => before?.get(id) !== test);
  expect(changed.map(([id]) => id)).toEqual(['t5', 't9000']);
}, 40_000);

/** The provider with options of its own, and how its streams asked. */
function provided() {
  const stream = scriptedStream();
  const Shown = () => {
    useQueueStats();
    return null;
  };
  const page = (options: { token?: string | (() => string); url?: string; fetch?: typeof fetch }) => (
    <StrictMode>
      <RuncastProvider fetch={stream.fetch} shareKey={false} {...options}>
        <Shown />
      </RuncastProvider>
    </StrictMode>
  );
  return { stream, page, tokens: () => stream.requests.map(({ headers }) => headers.get('authorization')) };
}

it('another token is that of the next connection', async () => {
  const { stream, page, tokens } = provided();
  const { rerender } = render(page({ token: 'one' }));
  await waitFor(() => expect(stream.open).toBe(1));
  rerender(page({ token: 'two' }));
  expect(stream.open).toBe(1);
  act(() => stream.drop());
  await waitFor(() => expect([tokens().at(-1), stream.open]).toEqual(['Bearer two', 1]));
  // Functions that are another one at each rendering cost nothing.
  const asked = vi.fn();
  for (let n = 0; n < 3; n++) {
    rerender(
      page({
        token: () => {
          asked(n);
          return `three ${n}`;
        },
      }),
    );
  }
  act(() => stream.end('expired'));
  await waitFor(() => expect(tokens().at(-1)).toBe('Bearer three 2'));
  expect(asked.mock.calls).toEqual([[2]]);
});

it('another address, or another fetch, is that of the next connection', async () => {
  const { stream, page } = provided();
  const { rerender } = render(page({ url: 'http://one' }));
  await waitFor(() => expect(stream.open).toBe(1));
  rerender(page({ url: 'http://two' }));
  const other = scriptedStream();
  const to: string[] = [];
  const fetch: typeof globalThis.fetch = (input, init) => {
    to.push(`${input}`);
    return other.fetch(input, init);
  };
  rerender(page({ url: 'http://two', fetch }));
  await waitFor(() => expect([stream.open, other.open]).toEqual([0, 1]));
  expect(to.at(-1)).toBe('http://two/api/queue-stats/events');
});

it('nothing is random while it renders', async () => {
  const random = vi.spyOn(Math, 'random');
  const Page = () => {
    useRun('r');
    useProjectRuns('p');
    return null;
  };
  renderToString(
    <RuncastProvider token="t">
      <Page />
    </RuncastProvider>,
  );
  expect(random).not.toHaveBeenCalled();
  random.mockRestore();
});
