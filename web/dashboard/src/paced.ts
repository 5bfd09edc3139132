import { useEffect, useRef, useState } from 'react';

/** The value, told again no more often than that; each, where it is 0. */
export function usePaced<T>(value: T, everyMs: number): T {
  const [paced, show] = useState<{ value: T }>();
  const shownAt = useRef(0);
  /** The last one before it was paced. */
  const unpaced = useRef(value);
  useEffect(() => {
    if (!everyMs) {
      unpaced.current = value;
      return;
    }
    const tell = () => {
      shownAt.current = performance.now();
      show({ value });
    };
    const wait = shownAt.current + everyMs - performance.now();
    if (wait <= 0) return tell();
    const timer = setTimeout(tell, wait);
    return () => clearTimeout(timer);
  }, [value, everyMs]);
  if (!everyMs) return value;
  return paced ? paced.value : unpaced.current;
}
