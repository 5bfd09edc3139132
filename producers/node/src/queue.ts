/** The most of one request: docs/producers.md. */
const MAX_BATCH_UPDATES = 1000;
const MAX_BATCH_LENGTH = 2 * 1024 * 1024;

interface Waiting {
  json: string;
  isDroppable: boolean;
}

/** What waits to be sent, in order. */
export class Queue {
  readonly #maxUpdates: number;
  readonly #maxLength: number;
  #waiting: Waiting[] = [];
  #length = 0;
  #droppable = 0;
  /** How many were dropped. */
  dropped = 0;

  /** It holds so many updates, and so many characters of them. */
  constructor(maxUpdates = 50_000, maxLength = 64 * 1024 * 1024) {
    this.#maxUpdates = maxUpdates;
    this.#maxLength = maxLength;
  }

  get size(): number {
    return this.#waiting.length;
  }

  /**
   * Adds an update. Where there is no room, some of the oldest are dropped: of those after which more is said, as
   * long as there are some.
   */
  push(json: string, isDroppable: boolean): void {
    this.#waiting.push({ json, isDroppable });
    this.#length += json.length;
    if (isDroppable) this.#droppable += 1;
    while (this.#waiting.length > this.#maxUpdates || this.#length > this.#maxLength) this.#drop();
  }

  /** The next ones, as many as one request takes. */
  take(): string[] {
    let [count, length] = [0, 0];
    for (const { json } of this.#waiting) {
      length += json.length;
      if (count === MAX_BATCH_UPDATES || (count > 0 && length > MAX_BATCH_LENGTH)) break;
      count += 1;
    }
    return this.#waiting.splice(0, count).map((waiting) => this.#without(waiting));
  }

  /** All that waits. */
  takeAll(): string[] {
    return this.#waiting.splice(0).map((waiting) => this.#without(waiting));
  }

  #without(waiting: Waiting): string {
    this.#length -= waiting.json.length;
    if (waiting.isDroppable) this.#droppable -= 1;
    return waiting.json;
  }

  /** Drops a tenth at once, as each time all are looked through. */
  #drop(): void {
    let surplus = Math.ceil(this.#waiting.length / 10);
    const takesAny = this.#droppable < surplus;
    this.#waiting = this.#waiting.filter((waiting) => {
      if (surplus === 0 || !(takesAny || waiting.isDroppable)) return true;
      surplus -= 1;
      this.#without(waiting);
      this.dropped += 1;
      return false;
    });
  }
}
