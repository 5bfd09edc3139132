import { useSyncExternalStore } from 'react';

/** `system` follows `prefers-color-scheme`. */
export type Theme = 'system' | 'light' | 'dark';

const KEY = 'runcast-theme';
const listeners = new Set<() => void>();

/** The choice of an earlier visit is applied before anything is drawn. */
export function restoreTheme(): void {
  apply(stored());
}

export function useTheme(): Theme {
  return useSyncExternalStore(subscribe, stored);
}

export function setTheme(theme: Theme): void {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // Where nothing may be stored, the choice lasts as long as the page.
  }
  apply(theme);
  for (const listener of listeners) listener();
}

function stored(): Theme {
  const chosen = document.documentElement.dataset.theme ?? read();
  return chosen === 'light' || chosen === 'dark' ? chosen : 'system';
}

function read(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function apply(theme: Theme): void {
  document.documentElement.dataset.theme = theme;
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
