import { useEffect } from 'react';

const SIGNS: Record<string, string> = {
  passed: '✓',
  completed: '✓',
  failed: '✕',
  error: '✕',
  cancelled: '⊘',
  running: '●',
  waiting: '○',
};
/** Icons are drawn outside of the page, and know neither its colours nor its scheme. */
const HUES: Record<string, string> = {
  passed: '#2f9e5f',
  completed: '#2b93a3',
  failed: '#dc3a44',
  error: '#d9731a',
  cancelled: '#7d838c',
  running: '#4f7cf7',
};
const OWN = './icon.svg';

/** What the tab says: of what the page is, and how that stands, by a sign, and by the icon's colour. */
export function useTabTitle(title: string, status?: string): void {
  useEffect(() => {
    const sign = status && SIGNS[status];
    document.title = [sign && `${sign} `, title && `${title} · `, 'Runcast'].filter(Boolean).join('');
    const icon = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
    const hue = status && HUES[status];
    icon?.setAttribute('href', hue ? iconOf(hue) : OWN);
  }, [title, status]);
}

const iconOf = (hue: string): string =>
  `data:image/svg+xml,${encodeURIComponent(
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="${hue}"/></svg>`,
  )}`;
