import type { Suite, TestCase } from '@playwright/test/reporter';

/**
 * The groups of `describe.serial`: where one test of it fails, all are run again. Playwright does not say which these
 * are but by a field of its own; without it each test is for itself, and one that runs again has another attempt.
 */
export class SerialGroups {
  readonly #groups = new Map<string, Set<string> | undefined>();
  readonly #members = new Map<Set<string>, string[]>();

  has(test: TestCase): boolean {
    return this.#of(test) !== undefined;
  }

  /** A test may end otherwise than it did. */
  reopen(test: TestCase): void {
    this.#of(test)?.add(test.id);
  }

  /** Nothing more is due of a test for now; returns all of its group, if that holds for each. */
  settle(test: TestCase): string[] {
    const open = this.#of(test);
    open?.delete(test.id);
    return open?.size === 0 ? (this.#members.get(open) ?? []) : [];
  }

  /** Those of a test's group of which something is due. */
  #of(test: TestCase): Set<string> | undefined {
    if (!this.#groups.has(test.id)) {
      const suite = outermostSerial(test.parent);
      const members = suite?.allTests().map(({ id }) => id) ?? [test.id];
      const open = suite && new Set(members);
      for (const id of members) this.#groups.set(id, open);
      if (open) this.#members.set(open, members);
    }
    return this.#groups.get(test.id);
  }
}

function outermostSerial(suite: Suite | undefined): Suite | undefined {
  let outermost: Suite | undefined;
  for (
    let parent = suite as (Suite & { _parallelMode?: string }) | undefined;
    parent;
    parent = parent.parent
  ) {
    if (parent._parallelMode === 'serial') outermost = parent;
  }
  return outermost;
}
