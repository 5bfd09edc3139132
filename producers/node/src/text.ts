/** How much of an error Runcast keeps, in characters. */
const MAX_ERROR_LENGTH = 16 * 1024;

/** What terminals show as colours, and whatever else they obey: ECMA-48, 5.4 and 8.3.89. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is what they are made of
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\))/g;

/** An error's text as it is kept: its beginning, without colours. */
export function clip(text: string): string {
  // What is cut off is not looked through.
  const near = text.slice(0, 2 * MAX_ERROR_LENGTH).replace(ESCAPES, '');
  return near.length > MAX_ERROR_LENGTH || text.length > 2 * MAX_ERROR_LENGTH
    ? `${near.slice(0, MAX_ERROR_LENGTH)}…`
    : near;
}

/** Whatever was thrown, in one line. */
export function lineOf(thrown: unknown): string {
  const error = thrown as NodeJS.ErrnoException & { errors?: unknown[] };
  // Of several addresses of one host, each has failed.
  const inner = error instanceof AggregateError ? error.errors[0] : undefined;
  const said =
    error instanceof Error ? error.message || (inner ? lineOf(inner) : error.code) : String(thrown);
  // What a server says is no command to the terminal.
  return (said || 'unknown error')
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .slice(0, 300)
    .trim();
}
