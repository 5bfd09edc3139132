import type { Problem } from './schema.ts';

/** What a `RuncastError` is made of, as it goes from tab to tab. */
export interface Refusal {
  /** The HTTP status, such as 404; 0 where there was no answer. */
  status: number;
  message: string;
  /** What the server said (RFC 9457), where it said anything. */
  problem?: Problem | undefined;
}

/** Something that cannot work, whoever is asked, and however often. */
export class Hopeless extends Error {}

/** What went wrong before there was an answer. */
export const failureOf = (error: unknown): Refusal => ({ status: 0, message: textOf(error) });

/** What an error says. */
export function textOf(error: unknown): string {
  // Node says "fetch failed", and why in the cause.
  const { message, cause } = (error ?? {}) as { message?: string; cause?: { message?: string } };
  return cause?.message || message || `${error}`;
}

/** Why the server will not serve a stream, however often it is asked: an answer that is not a temporary one. */
export class RuncastError extends Error {
  override readonly name = 'RuncastError';
  /** The HTTP status, such as 404; 0 where there was no answer. */
  readonly status: number;
  /** What the server said (RFC 9457), where it said anything. */
  readonly problem: Problem | undefined;

  constructor({ status, message, problem }: Refusal) {
    super(message);
    this.status = status;
    this.problem = problem;
  }
}
