import { type Client, isTerminal, type JobState } from 'runcast-client';
import { readRuns } from './past.ts';

/** How long the page may take to have what the log has, in milliseconds, and how often it looks. */
const PATIENCE_MS = 15_000;
const LOOK_MS = 500;

/** What the log has, of the runs that were followed, and what came. */
export interface Count {
  /** Events in the log, since the counting began. */
  logged: number;
  /** Those of them that came here. */
  came: number;
}

interface Followed {
  /** The last event before the counting began. */
  base: number;
  last: number;
  came: number;
}

/** Counts the events of a project's runs as they come, to hold them against the log. */
export class Tally {
  readonly #client: Client;
  readonly #projectId: string;
  readonly #runs = new Map<string, Followed>();
  readonly #watching = new AbortController();
  #isCurrent = false;

  constructor(client: Client, projectId: string) {
    this.#client = client;
    this.#projectId = projectId;
    client.watchProject(
      { projectId, kind: 'job' },
      {
        onState: (run) => this.#take(run),
        onCurrent: () => {
          this.#isCurrent = true;
        },
        signal: this.#watching.signal,
      },
    );
  }

  /** Waits until what the log has now has come, or it takes too long. */
  async compare(): Promise<Count> {
    const giveUp = Date.now() + PATIENCE_MS;
    const runs = await this.#read(giveUp);
    const isHere = ({ runId, seq, status }: JobState) => {
      const followed = this.#runs.get(runId);
      // What was over before is no longer told.
      return followed ? followed.last >= seq : isTerminal(status);
    };
    while (!runs.every(isHere) && Date.now() < giveUp) {
      await aWhile();
    }
    this.close();
    const count = { logged: 0, came: 0 };
    for (const { runId, seq } of runs) {
      const followed = this.#runs.get(runId);
      if (!followed) continue;
      const { base, last, came } = followed;
      // More may have come than the log had when it was asked.
      const logged = Math.max(0, seq - base);
      const lost = last - base - came;
      count.logged += logged;
      count.came += Math.min(logged, Math.max(0, Math.min(last, seq) - base - lost));
    }
    return count;
  }

  /** Counts no more. */
  close(): void {
    this.#watching.abort();
  }

  /** What was broken may take a moment to answer. */
  async #read(giveUp: number): Promise<readonly JobState[]> {
    for (;;) {
      try {
        return await readRuns(this.#client, this.#projectId, this.#watching.signal);
      } catch (error) {
        if (Date.now() > giveUp) throw error;
        await aWhile();
      }
    }
  }

  #take({ runId, seq }: JobState): void {
    const followed = this.#runs.get(runId);
    if (!followed) {
      // Of a run that is new, all must come; of another, all from now on.
      const base = this.#isCurrent ? 0 : seq;
      this.#runs.set(runId, { base, last: seq, came: this.#isCurrent ? 1 : 0 });
    } else if (seq > followed.last) {
      followed.last = seq;
      followed.came += 1;
    }
  }
}

const aWhile = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, LOOK_MS));
