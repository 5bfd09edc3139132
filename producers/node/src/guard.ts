import { say } from './reporter.ts';
import { lineOf } from './text.ts';

/**
 * The same reporter, none of whose methods throws: a tool takes that for a failure of its tests. What breaks is said
 * once.
 */
export function guarded<T extends object>(reporter: T): T {
  let hasTold = false;
  const tell = (error: unknown) => {
    if (!hasTold) say(`the reporter is broken, the tests are not: ${lineOf(error)}`);
    hasTold = true;
  };
  return new Proxy(reporter, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return (...given: unknown[]) => {
        try {
          const result: unknown = value.apply(target, given);
          return result instanceof Promise ? result.catch(tell) : result;
        } catch (error) {
          return tell(error);
        }
      };
    },
  });
}
