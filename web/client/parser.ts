/** What the fields of a frame say, by their names; several lines of `data` are one text. */
export type Frame = Partial<Record<'event' | 'data' | 'id' | 'retry', string>>;

/**
 * Reads `text/event-stream` (WHATWG HTML, 9.2.6) however it is cut, and calls back with each frame: also with one that
 * has an id and no data, which counts, although it is no event. A byte order mark is the decoder's to take away.
 */
export function createParser(onFrame: (frame: Frame) => void): (chunk: string) => void {
  let rest = '';
  let frame: Record<string, string> = {};
  // A CR is a line's end; the LF that may come behind it, in the next chunk, belongs to it.
  let isAfterCr = false;
  return (chunk) => {
    if (!chunk) return;
    const text = isAfterCr && chunk[0] === '\n' ? chunk.slice(1) : chunk;
    isAfterCr = chunk.endsWith('\r');
    const lines = (rest + text).split(/\r\n?|\n/);
    rest = lines.pop() as string;
    for (const line of lines) {
      if (line) {
        const [, field, value] = /^([^:]*):? ?(.*)/s.exec(line) as unknown as [string, string, string];
        frame[field] = field === 'data' && field in frame ? `${frame[field]}\n${value}` : value;
      } else {
        onFrame(frame);
        frame = {};
      }
    }
  };
}
