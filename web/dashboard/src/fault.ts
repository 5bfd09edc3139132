import { useSyncExternalStore } from 'react';
import type { Count } from './tally.ts';

/** A server that was broken by a button of the demo, and what has become of it. */
export interface Fault {
  server: 'redis' | 'postgres';
  phase: 'away' | 'counting' | 'kept' | 'lost';
  /** When it is to be back, in milliseconds since the epoch. */
  until: number;
  count?: Count;
}

/** How long the outcome is shown, in milliseconds. */
const SHOWN_MS = 20_000;
/** How long after its end an outage is believed in of which no outcome is told: the tab may be gone. */
const BELIEVED_MS = 30_000;

let fault: Fault | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;
const listeners = new Set<() => void>();
const channel = new BroadcastChannel('runcast-fault');
channel.onmessage = ({ data }: MessageEvent<Fault | undefined>) => take(data);

/** Tells all tabs. */
export function tellFault(next: Fault | undefined): void {
  take(next);
  channel.postMessage(next);
}

export const faultNow = (): Fault | undefined => fault;

export function useFault(): Fault | undefined {
  return useSyncExternalStore(subscribe, faultNow);
}

function take(next: Fault | undefined): void {
  fault = next;
  clearTimeout(timer);
  const isOver = next?.phase === 'kept' || next?.phase === 'lost';
  const leftMs = isOver ? SHOWN_MS : Math.max(0, (next?.until ?? 0) - Date.now()) + BELIEVED_MS;
  if (next) timer = setTimeout(() => take(undefined), leftMs);
  for (const listener of [...listeners]) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
