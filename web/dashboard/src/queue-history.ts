import { useEffect, useSyncExternalStore } from 'react';
import type { QueueCounts, QueueStats } from 'runcast-client';
import { useConnection, useQueueStats } from 'runcast-client/react';
import { useFault } from './fault.ts';

/** How long it is kept, in milliseconds. */
const KEPT_MS = 15 * 60_000;

/** The queues at a time, in milliseconds since the epoch; without them, nobody looked, or nothing came. */
export interface QueuePoint {
  at: number;
  stats: QueueStats | undefined;
}

let points: readonly QueuePoint[] = [];
const listeners = new Set<() => void>();

function add(stats: QueueStats | undefined): void {
  const last = points.at(-1);
  if (last?.stats === stats) return;
  const at = Date.now();
  points = [...points.filter((point) => point.at > at - KEPT_MS), { at, stats }];
  for (const listener of [...listeners]) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The statistics of the queues, and how they were as long as a page of this tab showed them. */
export function useQueues() {
  const { state, error, retry } = useQueueStats();
  const { state: connection } = useConnection();
  const fault = useFault();
  // The stream stays open, and says nothing of it.
  const isUnknown = fault?.server === 'redis' && (fault.phase === 'away' || fault.phase === 'counting');
  const isOpen = connection === 'open' && !isUnknown;
  useEffect(() => {
    // What is not known, is no line.
    add(isOpen ? state : undefined);
  }, [state, isOpen]);
  useEffect(() => () => add(undefined), []);
  return { stats: state, error, retry, isOpen, points: useSyncExternalStore(subscribe, () => points) };
}

/** What waits in a queue, for whatever. */
export const queuedIn = ({ waiting, prioritized, delayed, paused }: QueueCounts): number =>
  waiting + prioritized + delayed + paused;
