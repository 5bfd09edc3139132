/** What goes to all who iterate over a watch. */
export interface Feed<S> {
  push(state: S): void;
  /** Nothing follows; with an error, that is thrown. */
  end(error?: Error): void;
  /** Begins with `queue`; `stop` is called when the iteration ends, whatever way. */
  iterate(queue: S[], stop: () => void): AsyncGenerator<S, void, void>;
}

export function createFeed<S>(): Feed<S> {
  const sinks = new Set<(state?: S) => void>();
  let isOver = false;
  let failure: Error | undefined;
  return {
    push(state) {
      for (const sink of sinks) sink(state);
    },
    end(error) {
      isOver = true;
      failure = error;
      for (const sink of sinks) sink();
    },
    async *iterate(queue, stop) {
      let wake: (() => void) | undefined;
      const sink = (state?: S) => {
        if (state) queue.push(state);
        wake?.();
      };
      sinks.add(sink);
      try {
        for (;;) {
          for (let state = queue.shift(); state; state = queue.shift()) yield state;
          if (failure) throw failure;
          if (isOver) return;
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      } finally {
        sinks.delete(sink);
        stop();
      }
    },
  };
}
