import type { JobState, TestCounts } from 'runcast-client';
import { STATUSES } from './status.tsx';

/** What an event changed, in words. */
export function describe(state: JobState, before: JobState | undefined): string {
  if (state.seq === 0) return 'not reported yet';
  if (state.status !== before?.status) {
    return [state.status, state.errorDetails].filter(Boolean).join(': ');
  }
  const words = [progress(state, before), tests(state.tests, before.tests)].filter(Boolean);
  return words.join(' · ') || 'updated';
}

function progress({ progress: now }: JobState, { progress: before }: JobState): string {
  if (!now || JSON.stringify(now) === JSON.stringify(before)) return '';
  const count = now.total == null ? `${now.completed ?? 0} done` : `${now.completed ?? 0} of ${now.total}`;
  return now.message ? `${count}, ${now.message}` : count;
}

function tests(now: TestCounts | null, before: TestCounts | null): string {
  const changes = STATUSES.filter((status) => (now?.[status] ?? 0) > (before?.[status] ?? 0));
  return changes.map((status) => `${(now?.[status] ?? 0) - (before?.[status] ?? 0)} ${status}`).join(', ');
}
