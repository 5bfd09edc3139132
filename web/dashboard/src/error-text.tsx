import Anser from 'anser';
import { memo } from 'react';

/** What a terminal acts upon, and does not show; with its colours, or without. */
const ESCAPES = new RegExp(`${String.fromCharCode(27)}\\[[0-9;?]*[A-Za-z]`, 'g');
const MOVES = new RegExp(`${String.fromCharCode(27)}\\[[0-9;?]*[A-Za-ln-z]`, 'g');

export const plain = (text: string): string => text.replace(ESCAPES, '').trim();

interface Part {
  /** Where it begins. */
  at: number;
  content: string;
  color: string | undefined;
  decorations: string;
}

function partsOf(text: string): Part[] {
  const coloured = text.replace(MOVES, '').trim();
  let at = 0;
  return Anser.ansiToJson(coloured, { use_classes: true, remove_empty: true }).map((part) => {
    const { content, fg, bg, decorations } = part;
    at += content.length;
    // What is on a colour, or in reverse, is in that colour on a tint of it.
    const color = (bg ?? fg)?.replace(/^ansi-(?:bright-)?/, '');
    const classes = bg ? ['tinted', ...decorations] : decorations;
    return { at: at - content.length, content, color, decorations: classes.join(' ') };
  });
}

/** What went wrong, as its tool said it, in its colours; or only the first lines of it. */
export const ErrorText = memo(function ErrorText({ text, isCut }: { text: string; isCut?: boolean }) {
  return (
    <pre className={`error ${isCut ? 'line-clamp-4' : ''}`}>
      {partsOf(text).map(({ at, content, color, decorations }) =>
        color || decorations ? (
          <span key={at} data-color={color} className={decorations}>
            {content}
          </span>
        ) : (
          content
        ),
      )}
    </pre>
  );
});
