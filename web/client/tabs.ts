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

export interface Tabs {
  post(message: Message): void;
  /** Calls back once that tab is gone. */
  onceGone(id: string, gone: () => void): void;
  /** Takes the lead from a tab that says nothing: a browser may suspend one in the background, and leave it its lock. */
  steal(): void;
  leave(): void;
}

/**
 * The tabs of a browser that share their streams. The one that has the Web Lock leads: it holds the streams. A lock is
 * free again when its tab is gone, whatever way it went, and the next in line leads. Each tab also holds a lock of its
 * own, on which the leader waits to learn that it is gone: before it has that, it says nothing. `onReady`: it has; `onLead`:
 * this tab leads; `onLost`: another one has taken the lead.
 */
export function joinTabs(
  name: string,
  id: string,
  onMessage: (message: Message) => void,
  onReady: () => void,
  onLead: () => void,
  onLost: () => void,
): Tabs {
  const leaving = new AbortController();
  const { signal } = leaving;
  const channel = new BroadcastChannel(name);
  let isReady = false;

  const left = () => new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));

  /** Rejects where locks are refused, this tab leaves the line, or another one steals it. */
  const request = async (lock: string, granted: () => Promise<void> | void, steal = false): Promise<void> => {
    // Web Locks: what is stolen is granted at once, and takes no signal.
    await navigator.locks.request(lock, steal ? { steal } : { signal }, async () => {
      if (!signal.aborted) await granted();
    });
  };

  const lead = (steal = false) => {
    let leads = false;
    const granted = () => {
      leads = true;
      onLead();
      return left();
    };
    request(name, granted, steal).catch(() => {
      if (signal.aborted) return;
      if (leads) onLost();
      // One that has stolen still stands in line.
      if (!steal) lead();
    });
  };

  const onceGone = (tab: string, gone: () => Promise<void> | void) => {
    request(`${name} ${tab}`, gone).catch(() => {});
  };

  channel.onmessage = ({ data }: MessageEvent<Message>) => {
    if (!signal.aborted && (!data.to || data.to === id)) onMessage(data);
  };
  const ready = () => {
    isReady = true;
    lead();
    onReady();
    return left();
  };
  // In an opaque origin, as of a sandboxed frame, locks are refused: there this tab works alone.
  request(`${name} ${id}`, ready).catch(() => signal.aborted || onLead());
  return {
    post: (message) => isReady && channel.postMessage(message),
    onceGone,
    steal: () => lead(true),
    leave() {
      leaving.abort();
      channel.close();
    },
  };
}
