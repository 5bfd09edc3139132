import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { hash } from './hash.ts';

/** The longest file that is sent at a start, in bytes; a longer one is for `runcast import`. */
const MAX_BYTES = 128 * 1024 * 1024;

/**
 * Files of what could not be sent, one update a line: the next start sends them, or `runcast import`. Who sends one
 * twice does no harm: the `eventId`s make each one.
 */
export class Spool {
  readonly #folder: string;
  /** Where they are to be sent to: what is for one server is no other's. */
  readonly #mark: string;

  constructor(folder: string | undefined, url: URL, project: string | undefined) {
    this.#folder = path.resolve(folder || process.env.RUNCAST_SPOOL || '.runcast');
    this.#mark = hash([url.href, project ?? '']).slice(0, 8);
  }

  /** Those that wait for the next start, oldest first. */
  files(): string[] {
    try {
      return fs
        .readdirSync(this.#folder)
        .filter((name) => name.endsWith('.jsonl') && name.includes(`-${this.#mark}-`))
        .sort()
        .map((name) => path.join(this.#folder, name))
        .filter((file) => fs.statSync(file).size <= MAX_BYTES);
    } catch {
      return [];
    }
  }

  /** Writes updates into a new file, and returns its path. */
  write(updates: readonly string[]): string {
    fs.mkdirSync(this.#folder, { recursive: true });
    const ignored = path.join(this.#folder, '.gitignore');
    if (!fs.existsSync(ignored)) fs.writeFileSync(ignored, '*\n');
    const name = `${Date.now()}-${this.#mark}-${randomBytes(4).toString('hex')}.jsonl`;
    const file = path.join(this.#folder, name);
    // Nobody reads half of one.
    fs.writeFileSync(`${file}.part`, `${updates.join('\n')}\n`);
    fs.renameSync(`${file}.part`, file);
    return file;
  }
}
