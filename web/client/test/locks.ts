/** Web Locks, as far as the client uses them: exclusive ones, in line, with a signal to leave the line. */
export class Locks {
  readonly #lines = new Map<string, (() => void)[]>();

  async request(
    name: string,
    { signal }: { signal?: AbortSignal },
    hold: () => Promise<void>,
  ): Promise<void> {
    signal?.throwIfAborted();
    const line = this.#lines.get(name) ?? [];
    this.#lines.set(name, line);
    await new Promise<void>((resolve, reject) => {
      line.push(resolve);
      signal?.addEventListener('abort', () => {
        const place = line.indexOf(resolve);
        if (place <= 0) return;
        line.splice(place, 1);
        reject(signal.reason);
      });
      if (line.length === 1) resolve();
    });
    try {
      await hold();
    } finally {
      line.shift();
      line[0]?.();
    }
  }
}
