import { useEffect, useState } from 'react';
import { type RuncastError, readTestArtifact, type TestState } from 'runcast-client';
import { useSession } from './session.ts';

/** How often is looked whether the address is still good, in milliseconds. */
const LOOK_MS = 10_000;
/** How long before its end another is asked for, so that who clicks has one that serves, in milliseconds. */
const SPARE_MS = 30_000;

/** Where what a test left in S3 can be had, where the server signs that: asked for while the page is seen. */
export function useArtifactUrl({ testId, s3Url }: TestState): string | undefined {
  const { client } = useSession();
  const [signed, setSigned] = useState<{ of: string; url: string }>();
  useEffect(() => {
    if (!s3Url?.startsWith('s3://')) return;
    const shown = new AbortController();
    const { signal } = shown;
    let dueAt = 0;
    const ask = async () => {
      if (document.hidden || Date.now() < dueAt) return;
      dueAt = Number.POSITIVE_INFINITY;
      try {
        const { url, expiresAt } = await readTestArtifact(client, testId, { signal });
        setSigned({ of: s3Url, url });
        // A clock that is fast has none that is good for longer.
        dueAt = Math.max(Date.parse(expiresAt), Date.now() + 2 * SPARE_MS) - SPARE_MS;
      } catch (error) {
        const { status } = error as RuncastError;
        if (status === 0 || status === 429 || status >= 500) dueAt = 0;
      }
    };
    const timer = setInterval(ask, LOOK_MS);
    signal.addEventListener('abort', () => clearInterval(timer));
    document.addEventListener('visibilitychange', ask, { signal });
    void ask();
    return () => shown.abort();
  }, [client, testId, s3Url]);
  return signed?.of === s3Url ? signed?.url : undefined;
}
