import type { TopicUpdate } from './topic.ts';
import type { ConnectionSnapshot, State } from './types.ts';

/** What a tab wants to watch, and what it knows of it. */
export interface Want {
  key: string;
  position: string | undefined;
  states: State[];
}

/** What tabs tell each other. */
export interface Message {
  /** The tab that is told; all, where absent. */
  to?: string;
  /** All that a tab wants from now on. */
  want?: Want[];
  from?: string;
  updates?: TopicUpdate[];
  connection?: ConnectionSnapshot;
  /** There is a new leader: say what you want. */
  ask?: true;
  /** A page woke up. */
  wake?: true;
}

/**
 * The tabs of a browser that share their streams. The one that has the Web Lock leads: it holds the streams. A lock is
 * free again when its tab is gone, whatever way it went, and the next in line leads. Each tab also holds a lock of its
 * own, on which the leader waits to learn that it is gone.
 */
export class Tabs {
  readonly #name: string;
  readonly #channel: BroadcastChannel;
  readonly #leaving = new AbortController();

  constructor(name: string, id: string, onMessage: (message: Message) => void, onLead: () => void) {
    this.#name = name;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }: MessageEvent<Message>) => {
      if (!this.#leaving.signal.aborted && (!data.to || data.to === id)) onMessage(data);
    };
    this.#request(this.#lockOf(id), () => this.#left());
    this.#request(
      name,
      () => {
        onLead();
        return this.#left();
      },
      // In an opaque origin, as of a sandboxed frame, locks are refused: there this tab works alone.
      onLead,
    );
  }

  post(message: Message): void {
    this.#channel.postMessage(message);
  }

  /** Calls back once that tab is gone. */
  onceGone(id: string, gone: () => void): void {
    this.#request(this.#lockOf(id), gone);
  }

  leave(): void {
    this.#leaving.abort();
    this.#channel.close();
  }

  #lockOf(id: string): string {
    return `${this.#name} ${id}`;
  }

  #left(): Promise<void> {
    return new Promise((resolve) => this.#leaving.signal.addEventListener('abort', () => resolve()));
  }

  #request(lock: string, granted: () => Promise<void> | void, refused?: () => void): void {
    const { signal } = this.#leaving;
    navigator.locks
      .request(lock, { signal }, async () => {
        if (!signal.aborted) await granted();
      })
      .catch(() => {
        // Or left while in line.
        if (!signal.aborted) refused?.();
      });
  }
}
