/** Calls what the caller may have given. What it throws is the caller's to see, and must not stop what others wait for. */
export function call<A extends unknown[]>(given: ((...values: A) => void) | undefined, ...values: A): void {
  try {
    given?.(...values);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
