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

/** Whom the tabs serve. */
export interface TabsOwner {
  onMessage(message: Message): void;
  /** This tab leads. */
  onLead(): void;
  /** Another tab has taken the lead. */
  onLost(): void;
}

/**
 * The tabs of a browser that share their streams. The one that has the Web Lock leads: it holds the streams. A lock is
 * free again when its tab is gone, whatever way it went, and the next in line leads. Each tab also holds a lock of its
 * own, on which the leader waits to learn that it is gone.
 */
export class Tabs {
  readonly #name: string;
  readonly #owner: TabsOwner;
  readonly #channel: BroadcastChannel;
  readonly #leaving = new AbortController();

  constructor(name: string, id: string, owner: TabsOwner) {
    this.#name = name;
    this.#owner = owner;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }: MessageEvent<Message>) => {
      if (!this.#leaving.signal.aborted && (!data.to || data.to === id)) owner.onMessage(data);
    };
    this.#request(this.#lockOf(id), () => this.#left()).catch(() => {});
    this.#lead();
  }

  post(message: Message): void {
    this.#channel.postMessage(message);
  }

  /** Calls back once that tab is gone. */
  onceGone(id: string, gone: () => void): void {
    this.#request(this.#lockOf(id), gone).catch(() => {});
  }

  /** Takes the lead from a tab that says nothing: a browser may suspend one in the background, and leave it its lock. */
  steal(): void {
    this.#lead(true);
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

  #lead(steal = false): void {
    let leads = false;
    const lead = () => {
      leads = true;
      this.#owner.onLead();
      return this.#left();
    };
    this.#request(this.#name, lead, steal).catch(({ name }: Error) => {
      if (this.#leaving.signal.aborted) return;
      // In an opaque origin, as of a sandboxed frame, locks are refused: there this tab works alone.
      if (name !== 'AbortError') return this.#owner.onLead();
      if (leads) this.#owner.onLost();
      // One that has stolen still stands in line.
      if (!steal) this.#lead();
    });
  }

  /** Rejects where locks are refused, this tab leaves the line, or another one steals it. */
  async #request(lock: string, granted: () => Promise<void> | void, steal = false): Promise<void> {
    const { signal } = this.#leaving;
    // Web Locks: what is stolen is granted at once, and takes no signal.
    await navigator.locks.request(lock, steal ? { steal } : { signal }, async () => {
      if (!signal.aborted) await granted();
    });
  }
}
