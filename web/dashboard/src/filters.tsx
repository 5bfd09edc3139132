import { Search } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { useKey } from './keys.ts';
import { setQuery } from './route.ts';

/** How long typing rests before it counts, in milliseconds. */
const REST_MS = 200;

/** What is searched for, in the address as `q`; `/` leads here, Escape out of it. */
export function SearchField({ value, label }: { value: string; label: string }) {
  const field = useRef<HTMLInputElement>(null);
  const [typed, setTyped] = useState(value);
  const told = useRef(value);
  useKey({
    '/': (event) => {
      event.preventDefault();
      field.current?.select();
    },
  });
  // The back button, or a link.
  useEffect(() => {
    if (value === told.current) return;
    told.current = value;
    setTyped(value);
  }, [value]);
  useEffect(() => {
    if (typed === told.current) return;
    const timer = setTimeout(() => {
      told.current = typed;
      setQuery({ q: typed });
    }, REST_MS);
    return () => clearTimeout(timer);
  }, [typed]);
  return (
    <label className="relative flex min-w-0 flex-[1_1_190px] items-center sm:max-w-72">
      <Search size={14} aria-hidden className="pointer-events-none absolute left-2.5 text-quiet" />
      <input
        ref={field}
        type="search"
        aria-label={label}
        aria-keyshortcuts="/"
        placeholder={`${label} …`}
        maxLength={50}
        value={typed}
        onChange={({ target }) => setTyped(target.value)}
        onKeyDown={({ key, currentTarget }) => {
          if (key !== 'Escape') return;
          if (typed) setTyped('');
          else currentTarget.blur();
        }}
        className="field w-full pr-8 pl-8"
      />
      <kbd aria-hidden className="pointer-events-none absolute right-2 max-sm:hidden">
        /
      </kbd>
    </label>
  );
}

export interface Choice {
  value: string;
  word: string;
  count?: number | undefined;
  hue?: string;
}

/** One of several, in the address by this name; the first is what it is without. */
export function Choices(props: { name: string; label: string; chosen: string; choices: readonly Choice[] }) {
  const { name, label, chosen, choices } = props;
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset's legend cannot be laid out
    <div role="group" aria-label={label} className="choices">
      {choices.map(({ value, word, count, hue }, index) => (
        <button
          key={value}
          type="button"
          aria-pressed={value === chosen}
          data-status={hue}
          onClick={() => setQuery({ [name]: index ? value : undefined })}
          className="choice"
        >
          {hue && <span className="dot" aria-hidden />}
          {word}
          {count !== undefined && <span className="count">{count.toLocaleString('en')}</span>}
        </button>
      ))}
    </div>
  );
}
