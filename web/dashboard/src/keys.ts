import { type RefObject, useEffect, useRef } from 'react';

/** Whether keys are text here. */
const isWriting = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && !!target.closest('input, textarea, select, [contenteditable]');

/** Calls with each key that is pressed and is no text. */
export function useKey(keys: Record<string, (event: KeyboardEvent) => void>): void {
  const latest = useRef(keys);
  useEffect(() => {
    latest.current = keys;
  });
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (isWriting(event.target) && event.key !== 'Escape') return;
      latest.current[event.key]?.(event);
    };
    document.addEventListener('keydown', press);
    return () => document.removeEventListener('keydown', press);
  }, []);
}

/** `j` and `k` go up and down a list whose items have their `data-index`; Enter is the browser's. */
export function useListKeys(
  list: RefObject<HTMLElement | null>,
  count: number,
  scrollTo: (index: number) => void,
): void {
  const go = (by: 1 | -1) => (event: KeyboardEvent) => {
    const { activeElement } = document;
    const from = list.current?.contains(activeElement)
      ? Number(activeElement?.closest<HTMLElement>('[data-index]')?.dataset.index)
      : undefined;
    // Of several lists, the one that has the focus; or else the first on the page.
    const other = activeElement?.closest('ul[id]:has([data-index])');
    if (
      from === undefined &&
      (other || document.querySelector('ul[id]:has(> [data-index])') !== list.current)
    ) {
      return;
    }
    const index = from === undefined ? 0 : from + by;
    // It is for one list alone.
    event.preventDefault();
    if (index < 0 || index >= count) return leave(list.current, by);
    scrollTo(index);
    focusOn(list, index);
  };
  useKey({ j: go(1), k: go(-1) });
}

/** From one list to the next. */
function leave(list: HTMLElement | null, by: 1 | -1): void {
  const lists = [...document.querySelectorAll<HTMLElement>('ul[id]:has(> [data-index])')];
  const next = lists[lists.indexOf(list as HTMLElement) + by];
  const items = next?.querySelectorAll<HTMLElement>('[data-index]');
  focusable(items?.[by > 0 ? 0 : items.length - 1])?.focus();
}

/** It may first have to be scrolled into the page. */
function focusOn(list: RefObject<HTMLElement | null>, index: number, tries = 10): void {
  const item = list.current?.querySelector<HTMLElement>(`[data-index="${index}"]`);
  if (item) focusable(item)?.focus({ preventScroll: true });
  else if (tries) requestAnimationFrame(() => focusOn(list, index, tries - 1));
}

const focusable = (item: HTMLElement | undefined): HTMLElement | null | undefined =>
  item?.querySelector<HTMLElement>('a, button');
