import { createHash } from 'node:crypto';

/** How long an id is that is made of what a CI says; longer ones end with a hash. */
const MAX_ID_LENGTH = 80;

/** 128 bits of what these parts are, and of where each ends. */
export function hash(parts: readonly string[]): string {
  const hasher = createHash('sha256');
  for (const part of parts) hasher.update(`${Buffer.byteLength(part)}:${part}`);
  return hasher.digest('hex').slice(0, 32);
}

/** An id of any text: with `-` for what no id has, and a hash where that, or its end, was lost. */
export function idOf(text: string): string {
  const id = [...text]
    .slice(0, MAX_ID_LENGTH)
    .map((character) => (/^[A-Za-z0-9_-]$/.test(character) ? character : '-'))
    .join('');
  if (id === text && id !== '') return id;
  return `${id}-${hash([text]).slice(0, 8)}`.replace(/^-+/, '');
}
