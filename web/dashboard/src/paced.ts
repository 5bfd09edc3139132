import { useEffect, useRef, useState } from 'react';

/** The value, told again no more often than that; at once where it is 0. */
export function usePaced<T>(value: T, everyMs: number): T {
  const [shown, show] = useState(value);
  const shownAt = useRef(0);
  useEffect(() => {
    const tell = () => {
      shownAt.current = performance.now();
      show(value);
    };
    const wait = shownAt.current + everyMs - performance.now();
    if (wait <= 0) return tell();
    const timer = setTimeout(tell, wait);
    return () => clearTimeout(timer);
  }, [value, everyMs]);
  return everyMs ? shown : value;
}
