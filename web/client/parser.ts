/** What the fields of a frame say, by their names; several lines of `data` are one text. */
export type Frame = Partial<Record<'event' | 'data' | 'id' | 'retry', string>>;

/**
 * Reads `text/event-stream` (WHATWG HTML, 9.2.6) however it is cut, and calls back with each frame: also with one that
 * has an id and no data, which counts, although it is no event. A byte order mark is the decoder's to take away.
 */
export function createParser(onFrame: (frame: Frame) => void): (chunk: string) => void {
  let rest = '';
  let frame: Record<string, string> = {};
  return (chunk) => {
    // Whether a CR at the end is a line's whole end, only the next character tells.
    const lines = (rest + chunk).split(/\r\n|\n|\r(?!$)/);
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
