import { RuncastError } from '../client/index.ts';
import { isTemporary } from '../client/request.ts';

/** The waits before another try, in milliseconds; the last one for all that follow. */
const WAITS_MS = [1_000, 2_000, 5_000, 10_000, 30_000];

/**
 * Reads, and again after a while where the server cannot be reached or asks to come later. Tells each error; resolves to
 * `undefined` where another try is pointless, or the signal says so.
 */
export async function read<T>(
  once: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
  onError: (error: RuncastError) => void,
): Promise<T | undefined> {
  for (let tries = 0; ; tries++) {
    try {
      const answer = await once(signal);
      return signal.aborted ? undefined : answer;
    } catch (error) {
      if (signal.aborted) return undefined;
      if (!(error instanceof RuncastError)) throw error;
      onError(error);
      if (error.status && !isTemporary(error.status)) return undefined;
    }
    const wait = WAITS_MS[Math.min(tries, WAITS_MS.length - 1)];
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, wait);
      signal.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve();
      });
    });
    if (signal.aborted) return undefined;
  }
}
