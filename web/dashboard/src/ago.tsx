import { ago, exact, useNowRoughly } from './time.ts';

/** How long ago it was; exactly when, to whoever points at it. */
export function Ago({ at }: { at: string | null }) {
  const now = useNowRoughly();
  if (!at) return null;
  return (
    <time dateTime={at} title={exact(at)} className="whitespace-nowrap">
      {ago(at, now)}
    </time>
  );
}
