import { useWindowVirtualizer } from '@tanstack/react-virtual';
import { type ReactNode, useCallback, useEffect, useLayoutEffect, useRef, useState } from 'react';
import { useListKeys } from './keys.ts';

export interface VirtualListProps<T> {
  id: string;
  label: string;
  items: readonly T[];
  keyOf: (item: T) => string;
  /** About how high an item is, in pixels, before it was drawn. */
  heightOf: (item: T) => number;
  /** Draws an item. What Enter is for is its first link or button. */
  children: (item: T) => ReactNode;
  className?: string;
  /** What is scrolled to, whenever this changes. */
  shown?: { key: string } | undefined;
}

/** A list of any length, of which only what is seen is in the page; the page scrolls it. */
export function VirtualList<T>({
  id,
  label,
  items,
  keyOf,
  heightOf,
  children,
  className = '',
  shown,
}: VirtualListProps<T>) {
  const list = useRef<HTMLUListElement>(null);
  const [scrollMargin, setScrollMargin] = useState(0);
  // Another function has all measured anew.
  const getItemKey = useCallback((index: number) => keyOf(items[index] as T), [items, keyOf]);
  const virtualizer = useWindowVirtualizer({
    count: items.length,
    estimateSize: (index) => heightOf(items[index] as T),
    getItemKey,
    overscan: 10,
    scrollMargin,
    // The header covers it.
    scrollPaddingStart: 72,
    scrollPaddingEnd: 24,
    useFlushSync: false,
  });

  useLayoutEffect(() => {
    const measure = () => {
      if (list.current) setScrollMargin(Math.round(list.current.getBoundingClientRect().top + scrollY));
    };
    measure();
    const resized = new ResizeObserver(measure);
    resized.observe(document.body);
    return () => resized.disconnect();
  }, []);

  useSteadyScroll(virtualizer, items, keyOf, scrollMargin);
  useListKeys(list, items.length, (index) => virtualizer.scrollToIndex(index, { align: 'auto' }));

  // biome-ignore lint/correctness/useExhaustiveDependencies: it is scrolled to once, wherever it goes then
  useEffect(() => {
    const index = shown ? items.findIndex((item) => keyOf(item) === shown.key) : -1;
    if (index >= 0) virtualizer.scrollToIndex(index, { align: 'center' });
  }, [shown]);

  return (
    <ul
      ref={list}
      id={id}
      aria-label={label}
      className={`relative ${className}`}
      style={{ height: virtualizer.getTotalSize() }}
    >
      {virtualizer.getVirtualItems().map(({ key, index, start }) => (
        <li
          key={key}
          ref={virtualizer.measureElement}
          data-index={index}
          aria-setsize={items.length}
          aria-posinset={index + 1}
          className="absolute inset-x-0 top-0"
          style={{ transform: `translateY(${start - scrollMargin}px)` }}
        >
          {children(items[index] as T)}
        </li>
      ))}
    </ul>
  );
}

interface Measured {
  getVirtualItems(): { key: React.Key; start: number }[];
  measurementsCache: { start: number }[];
  scrollOffset: number | null;
}

/** Who reads in the middle of a list goes on reading, whatever is put in above. */
function useSteadyScroll<T>(
  virtualizer: Measured,
  items: readonly T[],
  keyOf: (item: T) => string,
  scrollMargin: number,
): void {
  const before = useRef<{ items: readonly T[]; starts: Map<React.Key, number> }>(undefined);
  useLayoutEffect(() => {
    const scrolled = virtualizer.scrollOffset ?? 0;
    const isRead = scrolled > scrollMargin;
    const moves: number[] = [];
    if (isRead && before.current && before.current.items !== items) {
      const { starts } = before.current;
      for (const [index, item] of items.entries()) {
        const was = starts.get(keyOf(item));
        const now = virtualizer.measurementsCache[index]?.start;
        if (was !== undefined && now !== undefined) moves.push(now - was);
        if (moves.length === starts.size) break;
      }
    }
    const move = moves.sort((one, other) => one - other)[Math.floor(moves.length / 2)];
    if (move) scrollBy(0, move);
    const seen = virtualizer.getVirtualItems().filter(({ start }) => start >= scrolled);
    before.current = { items, starts: new Map(seen.map(({ key, start }) => [key, start])) };
  });
}
