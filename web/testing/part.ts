import { type ExecutionState, isTerminal } from '../client/index.ts';
import { idOf } from '../client/topic.ts';
import { jobState, testState } from './states.ts';

/** How many finished executions a project's stream begins with. */
const MAX_FINISHED = 20;

/** An event, and of which project it is; of any, where the script does not say. */
export interface ScriptedEvent {
  state: ExecutionState;
  projectId: string | undefined;
}

/** One of the things that a stream was asked for, and how far it has been sent. */
export class Part {
  position = 0;
  readonly #kind: string;
  readonly #field: string;
  readonly #id: string;
  /** Its own of the events that it has looked at, in their order, and which of them each is. */
  #mine = new Map<ScriptedEvent, number>();
  #looked = 0;

  constructor(name: string, field: string, id: string) {
    this.#kind = name === 'job-status' ? 'job' : 'test';
    this.#field = field;
    this.#id = id;
  }

  /** Whether it is one execution, and not all tests of a run, or all executions of a project. */
  get #isOne(): boolean {
    return this.#field === (this.#kind === 'job' ? 'runId' : 'testId');
  }

  /** How many there have been. */
  end(events: readonly ScriptedEvent[]): number {
    return this.#own(events).size;
  }

  /** Which of its own that event is; `undefined` where it is not. */
  positionOf(event: ScriptedEvent, events: readonly ScriptedEvent[]): number | undefined {
    return this.#own(events).get(event);
  }

  /** Its current states, in the order of the server. */
  states(events: readonly ScriptedEvent[]): ExecutionState[] {
    const latest = this.#latest(events);
    const open = latest.filter(({ status }) => !isTerminal(status));
    const ended = latest.filter(({ status }) => isTerminal(status));
    if (this.#field === 'projectId') return [...open, ...ended.slice(-MAX_FINISHED)];
    const failed = ended.filter(({ status }) => isFailure(status));
    const rest = ended.filter(({ status }) => !isFailure(status));
    return this.#isOne && !latest.length ? [this.#none()] : [...open, ...failed, ...rest];
  }

  /** Its state where nobody has reported it. */
  unknown(events: readonly ScriptedEvent[]): ExecutionState | undefined {
    return this.#isOne && !this.#own(events).size ? this.#none() : undefined;
  }

  /** Whether all of it has ended; `settles`: as far as it will be waited for. */
  isOver(events: readonly ScriptedEvent[], settles = false): boolean {
    if (this.#field === 'projectId') return false;
    const latest = this.#latest(events);
    const isEnded = latest.every(({ status }) => isTerminal(status));
    if (this.#isOne) return latest.length > 0 && isEnded;
    const run = events.findLast(({ state }) => state.kind === 'job' && state.runId === this.#id);
    return !!run && isTerminal(run.state.status) && (isEnded || settles);
  }

  /** Whether it is of a run that has ended, and whose tests have not. */
  isSettling(events: readonly ScriptedEvent[]): boolean {
    if (!this.#isOne) return this.#latest(events).some(({ status }) => !isTerminal(status));
    const [state] = this.#latest(events);
    return state?.kind === 'job' && !!state.tests && state.tests.waiting + state.tests.running > 0;
  }

  #own(events: readonly ScriptedEvent[]): ReadonlyMap<ScriptedEvent, number> {
    // The log was lost.
    if (events.length < this.#looked) {
      this.#mine = new Map();
      this.#looked = 0;
    }
    for (const event of events.slice(this.#looked)) {
      if (this.#has(event)) this.#mine.set(event, this.#mine.size + 1);
    }
    this.#looked = events.length;
    return this.#mine;
  }

  #has({ state, projectId }: ScriptedEvent): boolean {
    if (state.kind !== this.#kind) return false;
    if (this.#field === 'projectId') return projectId === undefined || projectId === this.#id;
    return this.#isOne ? idOf(state) === this.#id : state.runId === this.#id;
  }

  /** What changed last stands last. */
  #latest(events: readonly ScriptedEvent[]): ExecutionState[] {
    const latest = new Map<string, ExecutionState>();
    for (const { state } of this.#own(events).keys()) {
      latest.delete(idOf(state));
      latest.set(idOf(state), state);
    }
    return [...latest.values()];
  }

  #none(): ExecutionState {
    return this.#kind === 'job' ? jobState({ runId: this.#id }) : testState({ testId: this.#id });
  }
}

const isFailure = (status: string): boolean => status === 'failed' || status === 'error';
