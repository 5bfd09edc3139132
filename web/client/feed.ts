/** What goes to all who iterate over a watch. */
export interface Feed<S> {
  push(state: S): void;
  /** Nothing follows; with an error, that is thrown. */
  end(error?: Error): void;
  /** Begins with `known`; `stop` is called when the iteration ends, whatever way. */
  iterate(known: readonly S[], stop: () => void): AsyncGenerator<S, void, void>;
}

/** A state and what follows it; nothing follows the end. */
interface Link<S> {
  state?: S;
  next?: Promise<Link<S>>;
  error?: Error | undefined;
}

export function createFeed<S>(): Feed<S> {
  let resolve: (link: Link<S>) => void;
  const append = () =>
    new Promise<Link<S>>((its) => {
      resolve = its;
    });
  let last = append();
  return {
    push(state) {
      const tell = resolve;
      last = append();
      tell({ state, next: last });
    },
    end: (error) => resolve({ error }),
    async *iterate(known, stop) {
      let following: Promise<Link<S>> | undefined = last;
      try {
        yield* known;
        while (following) {
          const { state, next, error }: Link<S> = await following;
          if (error) throw error;
          if (next) yield state as S;
          following = next;
        }
      } finally {
        stop();
      }
    },
  };
}
