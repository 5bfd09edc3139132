import { useSyncExternalStore } from 'react';

/** A clock that ticks for all that counts, with one timer, while anything does. */
function createClock(everyMs: number) {
  const listeners = new Set<() => void>();
  let timer: ReturnType<typeof setInterval> | undefined;
  let now = Date.now();
  const tick = () => {
    now = Date.now();
    for (const each of [...listeners]) each();
  };
  const subscribe = (listener: () => void) => {
    if (!timer) now = Date.now();
    listeners.add(listener);
    timer ??= setInterval(tick, everyMs);
    return () => {
      listeners.delete(listener);
      if (listeners.size) return;
      clearInterval(timer);
      timer = undefined;
    };
  };
  return () => useSyncExternalStore(subscribe, () => now);
}

/** The time, again each second. */
export const useNow = createClock(1_000);
/** The time, for what need not be so exact. */
export const useNowRoughly = createClock(10_000);

/** A person's words, as the server's `duration`. */
export function words(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return `${hours ? `${hours}h ` : ''}${seconds >= 60 ? `${minutes}m ` : ''}${seconds % 60}s`;
}

/** How long it took, in words that are right for the short, too. */
export function took(milliseconds: number): string {
  if (milliseconds < 1_000) return `${Math.round(milliseconds)}ms`;
  return milliseconds < 10_000 ? `${(milliseconds / 1000).toFixed(1)}s` : words(milliseconds);
}

const RELATIVE = new Intl.RelativeTimeFormat('en', { style: 'narrow', numeric: 'always' });
const UNITS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
] as const;

/** How long ago it was. */
export function ago(time: string, now: number): string {
  const age = Math.max(0, now - Date.parse(time));
  const [unit, size] = UNITS.find(([, size]) => age >= size) ?? [];
  if (!unit) return 'just now';
  return age > 30 * 86_400_000 ? day(time) : RELATIVE.format(-Math.floor(age / size), unit);
}

const DAY = new Intl.DateTimeFormat('en', { dateStyle: 'medium' });
const EXACT = new Intl.DateTimeFormat('en', {
  dateStyle: 'medium',
  timeStyle: 'long',
  hourCycle: 'h23',
});

const day = (time: string): string => DAY.format(new Date(time));

/** To the second, with the zone. */
export const exact = (time: string): string => EXACT.format(new Date(time));

/** The time of the day, and which day, unless it is today. */
export function clock(time: string | null, withSeconds = false): string {
  if (!time) return '';
  const at = new Date(time);
  const isToday = at.toDateString() === new Date().toDateString();
  return at.toLocaleString('en', {
    ...(!isToday && { day: 'numeric', month: 'short' }),
    hour: '2-digit',
    minute: '2-digit',
    ...(withSeconds && { second: '2-digit' }),
    hourCycle: 'h23',
  });
}

const CLOCK = new Intl.DateTimeFormat('en', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});

/** The time of the day, to the second. */
export const clockOf = (at: number): string => CLOCK.format(at);
