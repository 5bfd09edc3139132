/** Calls what the caller gave. What it throws is the caller's to see, and must not stop what others wait for. */
export function call(given: () => void): void {
  try {
    given();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
