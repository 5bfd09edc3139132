import { createParser } from 'eventsource-parser';
import { expect, inject } from 'vitest';

/** A state as viewers get it. */
export interface State {
  kind: 'test' | 'job';
  testId?: string;
  runId: string;
  status: string;
  seq: number;
  name: string | null;
  suite: string | null;
  file: string | null;
  line: number | null;
  url: string | null;
  labels: Record<string, string> | null;
  attempt: number;
  attempts: { attempt: number; status: string; error: string | null }[] | null;
  flaky: boolean;
  error: string | null;
  errorDetails: string | null;
  artifactPaths: string[] | null;
  reportPath: string | null;
  rerunOf: string | null;
  progress: { completed: number; total: number | null } | null;
  tests: Record<string, number> | null;
  shards: { total: number; ended: number } | null;
}

/** Whoever watches a project: all that came, in order. */
export class Viewer {
  readonly states: State[] = [];
  readonly #abort = new AbortController();
  #waiting: (() => void)[] = [];

  private constructor() {}

  static async of(projectId: string): Promise<Viewer> {
    const viewer = new Viewer();
    await viewer.#watch(`/api/test-status/events?projectId=${projectId}`);
    await viewer.#watch(`/api/job-status/events?projectId=${projectId}`);
    return viewer;
  }

  /** Resolves with the first of what came, or comes, that is so. */
  async until(is: (state: State) => boolean): Promise<State> {
    for (let seen = 0; ; ) {
      for (; seen < this.states.length; seen++) {
        const state = this.states[seen];
        if (state && is(state)) return state;
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** A run's last state, once it has ended and as many tests as it has have come to their end here, too. */
  async end(runId: string): Promise<State> {
    const run = (state: State) => state.kind === 'job' && state.runId === runId;
    await this.until((state) => run(state) && isTerminal(state.status));
    for (;;) {
      const last = this.states.findLast(run) as State;
      const tests = [...this.last(runId).values()];
      const { total = 0, waiting = 0, running = 0 } = last.tests ?? {};
      const isOver = tests.length === total && tests.every(({ status }) => isTerminal(status));
      if (isOver && waiting + running === 0) return last;
      const { length } = this.states;
      await this.until((state) => this.states.indexOf(state) >= length);
    }
  }

  /** The last state of each test of a run, by its id. */
  last(runId: string): Map<string, State> {
    const tests = this.states.filter((state) => state.kind === 'test' && state.runId === runId);
    return new Map(tests.map((state) => [state.testId ?? '', state]));
  }

  close(): void {
    this.#abort.abort();
  }

  async #watch(path: string): Promise<void> {
    const { url, token } = inject('stack');
    const headers = { authorization: `Bearer ${token}` };
    const response = await fetch(`${url}${path}`, { headers, signal: this.#abort.signal });
    if (response.status !== 200 || !response.body) throw new Error(`${path}: ${response.status}`);
    const parser = createParser({
      onEvent: ({ event, data }) => {
        if (event !== undefined || data === '') return;
        this.states.push(JSON.parse(data) as State);
        for (const wake of this.#waiting.splice(0)) wake();
      },
    });
    const { body } = response;
    const read = async () => {
      const decoder = new TextDecoder();
      for await (const chunk of body) parser.feed(decoder.decode(chunk, { stream: true }));
    };
    read().catch(() => {});
  }
}

export function isTerminal(status: string): boolean {
  return !['waiting', 'running'].includes(status);
}

/** No state is missing, or came twice. */
export function expectEachOnceInOrder(states: State[]): void {
  const last = new Map<string, number>();
  for (const { kind, testId, runId, seq } of states) {
    const id = `${kind} ${testId ?? runId}`;
    expect(`${id} ${seq}`).toBe(`${id} ${(last.get(id) ?? 0) + 1}`);
    last.set(id, seq);
  }
}
