import type { Refusal } from './request.ts';
import type { Problem } from './schema.ts';

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
