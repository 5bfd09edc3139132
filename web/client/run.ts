import { call } from './call.ts';
import type { RuncastError } from './error.ts';
import { createFeed } from './feed.ts';
import { SETTLE_MS } from './topic.ts';
import type { Client, RunSnapshot, Watch, WatchEnd, WatchOptions } from './types.ts';
import { RunView } from './view.ts';

/**
 * Watches a run and all its tests, until all of them are over. Changes are collected for a frame of the screen, and tests
 * never contradict what the run counts, but for where {@link RunSnapshot} says so.
 */
export function watchRun(
  client: Client,
  runId: string,
  { onState, onCurrent, onReset, onEnd, onError, onConnection, signal }: WatchOptions<RunSnapshot> = {},
): Watch<RunSnapshot> {
  const feed = createFeed<RunSnapshot>();
  let shown: RunSnapshot | undefined;
  let isCurrent = false;
  let isOver = !!signal?.aborted;
  /** How the run has ended; its tests may still be told. */
  let end: WatchEnd | undefined;
  let late: ReturnType<typeof setTimeout> | undefined;

  const view = new RunView((snapshot) => {
    shown = snapshot;
    call(onState, snapshot);
    feed.push(snapshot);
    if (!isCurrent && !snapshot.isLoading) {
      isCurrent = true;
      call(onCurrent);
    }
    settle();
  });

  const close = (error?: RuncastError) => {
    if (isOver) return;
    isOver = true;
    clearTimeout(late);
    view.close();
    run.close();
    tests.close();
    signal?.removeEventListener('abort', stop);
    feed.end(error);
  };
  const stop = () => close();

  const finish = () => {
    if (isOver) return;
    view.flush();
    if (isOver) return;
    close();
    call(onEnd, end ?? 'complete');
  };

  /** Ends with the run, once its tests are those that it counts. */
  const settle = () => {
    if (!end || isOver) return;
    if (end === 'closed' || view.isConsistent) finish();
    else if (!shown?.isLoading) late ??= setTimeout(finish, SETTLE_MS);
  };

  const fail = (error: RuncastError) => {
    if (isOver) return;
    close(error);
    call(onError, error);
  };

  const reset = () => {
    isCurrent = false;
    call(onReset);
  };

  const run = client.watchJobRun(runId, {
    onState: (state) => view.takeRun(state),
    onReset() {
      view.resetRun();
      reset();
    },
    onEnd(reason) {
      end = reason;
      settle();
    },
    onError: fail,
    ...(onConnection && { onConnection }),
    ...(signal && { signal }),
  });
  const tests = client.watchRunTests(runId, {
    onState: (state) => view.takeTest(state),
    onCurrent: () => view.loaded(),
    onReset() {
      view.resetTests();
      reset();
    },
    onEnd(reason) {
      if (reason === 'closed') end = reason;
      view.loaded();
      settle();
    },
    onError: fail,
    ...(signal && { signal }),
  });
  signal?.addEventListener('abort', stop);

  return {
    close: stop,
    [Symbol.asyncIterator]: () => feed.iterate(shown ? [shown] : [], stop),
  };
}
