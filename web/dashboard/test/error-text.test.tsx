import { cleanup, render } from '@testing-library/react';
import { afterEach, expect, it } from 'vitest';
import { ErrorText, plain } from '../src/error-text.tsx';

afterEach(cleanup);

const ESC = '\u001b[';

function shown(text: string) {
  const { container } = render(<ErrorText text={text} />);
  const parts = [...container.querySelectorAll('span')].map(({ textContent, dataset, className }) =>
    [textContent, dataset.color, className].filter(Boolean).join(' '),
  );
  return { text: container.textContent, parts };
}

it('has the colours of a terminal, and none of what it does not show', () => {
  expect(
    shown(`${ESC}2K${ESC}31m- old${ESC}39m\n${ESC}92m+ new${ESC}0m <b>&amp; ${ESC}2mrest${ESC}22m `),
  ).toEqual({
    text: '- old\n+ new <b>&amp; rest',
    parts: ['- old red', '+ new green', 'rest dim'],
  });
});

it('what differs within a line stands out', () => {
  expect(shown(`${ESC}31mReceived: "${ESC}7mone${ESC}27m"${ESC}39m`)).toEqual({
    text: 'Received: "one"',
    parts: ['Received: " red', 'one red tinted', '" red'],
  });
});

it('a text without colours is that text', () => {
  expect(shown('Error: [31m is text\n    at a.ts:1')).toEqual({
    text: 'Error: [31m is text\n    at a.ts:1',
    parts: [],
  });
  expect(plain(`${ESC}1mError${ESC}22m: no`)).toBe('Error: no');
});
