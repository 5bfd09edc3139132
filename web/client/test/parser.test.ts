import { createParser as createOther } from 'eventsource-parser';
import { expect, it } from 'vitest';
import { createParser } from '../parser.ts';

/** A generator of numbers below `most`, the same ones for the same seed (mulberry32). */
function numbers(seed: number) {
  let state = seed;
  return (most: number) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % most;
  };
}

const PIECES = [
  'data: {"a":1}',
  'data:x',
  'data:',
  'data',
  'data:  two spaces',
  'event: end',
  'event:reset',
  'id: 1,2,3',
  'retry: 250',
  ': ping',
  ':',
  'unknown: field',
  'data: a: b',
  '',
  '',
  '',
];

it('reads what eventsource-parser reads, however it is cut', () => {
  let events = 0;
  for (let seed = 0; seed < 3_000; seed++) {
    const below = numbers(seed);
    const newline = ['\n', '\r\n', '\r'][below(3)] as string;
    const lines = Array.from({ length: 1 + below(30) }, () => PIECES[below(PIECES.length)]);
    // What is begun is not told; whether a CR is a whole line's end only what follows tells.
    const text = `${lines.join(newline)}${newline}${newline}:${newline}:`;
    const [told, expected]: unknown[][] = [[], []];
    const parse = createParser(({ event, data, id }) => {
      // An event that has no data is none.
      if (data !== undefined) told?.push({ event: event || undefined, data, id });
    });
    const other = createOther({ onEvent: ({ event, data, id }) => void expected?.push({ event, data, id }) });
    for (let start = 0; start < text.length; ) {
      const end = start + 1 + below(below(2) ? 3 : 40);
      parse(text.slice(start, end));
      other.feed(text.slice(start, end));
      start = end;
    }
    expect(told, `seed ${seed}: ${JSON.stringify(text)}`).toEqual(expected);
    events += told?.length ?? 0;
  }
  expect(events).toBeGreaterThan(5_000);
});

it('tells an id that stands alone', () => {
  const told: unknown[] = [];
  const parse = createParser((frame) => told.push(frame));
  parse('id: 12\n\nid: 13\ndata: x\n\n');
  expect(told).toEqual([{ id: '12' }, { id: '13', data: 'x' }]);
});
