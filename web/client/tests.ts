import type { TestState } from './schema.ts';

/** How many states one change copies, as a power of two. */
const BITS = 7;
const MASK = 2 ** BITS - 1;

/**
 * The tests of a run, by their ids, in the order in which they came: a map that never changes. The next version shares all
 * with it but the parts in which something changed, so that ten thousand tests cost no more than a few.
 */
export class Tests implements ReadonlyMap<string, TestState> {
  readonly size: number = 0;
  /** Where each stands; shared by all versions, as none ever moves. */
  readonly #slots: Map<string, number>;
  readonly #parts: readonly (readonly TestState[])[];

  constructor(
    slots: Map<string, number> = new Map(),
    parts: readonly (readonly TestState[])[] = [],
    size = 0,
  ) {
    this.#slots = slots;
    this.#parts = parts;
    this.size = size;
  }

  /** The next version: there is but one of each. */
  with(changed: readonly TestState[]): Tests {
    const parts = [...this.#parts];
    const copies = new Map<number, TestState[]>();
    let { size } = this;
    for (const test of changed) {
      const slot = this.#slots.get(test.testId) ?? size++;
      this.#slots.set(test.testId, slot);
      const at = slot >> BITS;
      const copy = copies.get(at) ?? [...(parts[at] ?? [])];
      copies.set(at, copy);
      copy[slot & MASK] = test;
      parts[at] = copy;
    }
    return new Tests(this.#slots, parts, size);
  }

  get(testId: string): TestState | undefined {
    const slot = this.#slots.get(testId) ?? -1;
    return this.#parts[slot >> BITS]?.[slot & MASK];
  }

  has(testId: string): boolean {
    return !!this.get(testId);
  }

  *values(): MapIterator<TestState> {
    for (const part of this.#parts) yield* part;
  }

  *keys(): MapIterator<string> {
    for (const { testId } of this.values()) yield testId;
  }

  *entries(): MapIterator<[string, TestState]> {
    for (const test of this.values()) yield [test.testId, test];
  }

  [Symbol.iterator](): MapIterator<[string, TestState]> {
    return this.entries();
  }

  forEach(call: (test: TestState, testId: string, tests: ReadonlyMap<string, TestState>) => void): void {
    for (const test of this.values()) call(test, test.testId, this);
  }
}
