import { useEffect, useRef, useState } from 'react';
import type { JobState } from 'runcast-client';
import { ordinal } from './life.tsx';
import { countsOf } from './standing.ts';

/** The least time between two announcements, in milliseconds: who listens cannot skip. */
const REST_MS = 5_000;

/** Tells a screen reader what changes of the run, and not of each of its tests. */
export function Announcer({ run }: { run: JobState }) {
  const said = useRef(run);
  const [text, setText] = useState('');
  useEffect(() => {
    const isTurn = run.status !== said.current.status || run.attempt !== said.current.attempt;
    const tell = () => {
      const news = newsOf(run, said.current);
      said.current = run;
      if (news) setText(news);
    };
    if (isTurn) return tell();
    const timer = setTimeout(tell, REST_MS);
    return () => clearTimeout(timer);
  }, [run]);
  return (
    <p id="news" aria-live="polite" className="sr-only">
      {text}
    </p>
  );
}

function newsOf(now: JobState, before: JobState): string {
  const { failed } = countsOf(now.tests);
  const name = now.name ?? now.runId;
  return [
    now.attempt > before.attempt && `${ordinal(now.attempt)} attempt.`,
    now.status !== before.status && `${name}: ${now.status}.`,
    failed > countsOf(before.tests).failed && `${failed} ${failed === 1 ? 'test has' : 'tests have'} failed.`,
    now.stale && !before.stale && 'Nothing is heard of it.',
    before.stale && !now.stale && 'It is heard of again.',
    now.shards &&
      now.shards.ended > (before.shards?.ended ?? 0) &&
      `${now.shards.ended} of ${now.shards.total} shards have ended.`,
  ]
    .filter(Boolean)
    .join(' ');
}
