/** Web Locks, as far as the client uses them: exclusive ones, in line, with a signal to leave the line, and stolen. */
export class Locks {
  readonly #lines = new Map<string, (() => void)[]>();
  readonly #broken = new Map<string, () => void>();
  readonly #asked = new Set<string>();
  /** How long the first request for a lock is on its way, in milliseconds. */
  lateMs = 0;

  async request(
    name: string,
    { signal, steal }: { signal?: AbortSignal; steal?: boolean },
    hold: () => Promise<void>,
  ): Promise<void> {
    signal?.throwIfAborted();
    const isFirst = !this.#asked.has(name);
    this.#asked.add(name);
    if (isFirst && this.lateMs) await new Promise((resolve) => setTimeout(resolve, this.lateMs));
    const line = this.#lines.get(name) ?? [];
    this.#lines.set(name, line);
    if (steal) this.#broken.get(name)?.();
    await new Promise<void>((resolve, reject) => {
      if (steal) line[0] = resolve;
      else line.push(resolve);
      signal?.addEventListener('abort', () => {
        const place = line.indexOf(resolve);
        if (place <= 0) return;
        line.splice(place, 1);
        reject(signal.reason);
      });
      if (line[0] === resolve) resolve();
    });
    const broken = new Promise<never>((_, reject) => {
      this.#broken.set(name, () => reject(new DOMException('The lock was stolen.', 'AbortError')));
    });
    let isMine = true;
    broken.catch(() => {
      isMine = false;
    });
    try {
      await Promise.race([hold(), broken]);
    } finally {
      if (isMine) {
        line.shift();
        line[0]?.();
      }
    }
  }
}
