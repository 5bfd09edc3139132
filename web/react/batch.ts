/** How long changes are collected, in milliseconds: a frame of the screen. */
const BATCH_MS = 16;

/** Calls once for all that happens within a frame. A page that is not seen has no frames, but goes on. */
export function batched(call: () => void): { (): void; now(): void } {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const now = () => {
    clearTimeout(timer);
    timer = undefined;
    call();
  };
  const soon = () => {
    timer ??= setTimeout(now, BATCH_MS);
  };
  return Object.assign(soon, { now });
}
