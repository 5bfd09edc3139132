import { ExternalLink, FileText, Film, Image as ImageIcon, type LucideIcon, ScanSearch } from 'lucide-react';
import { useState } from 'react';
import { useSession } from './session.ts';

const IMAGE = /\.(?:png|jpe?g|gif|webp|avif|svg)$/i;
const FILM = /\.(?:webm|mp4)$/i;
const TRACE = /(?:^|[/_-])trace[^/]*\.zip$/i;

/** Where a path that a producer named leads; nothing where that is no place on the web. */
export function hrefOf(path: string, base: string = document.baseURI): string | undefined {
  if (/^\s*$|^\/\/|\\/.test(path)) return undefined;
  try {
    const { protocol, href } = new URL(path, new URL(base, document.baseURI));
    return protocol === 'http:' || protocol === 'https:' ? href : undefined;
  } catch {
    return undefined;
  }
}

interface ArtifactsProps {
  paths: readonly string[];
  /** Where some lead that are no place on the web. */
  signed?: Record<string, string | undefined>;
}

/** What a run or a test has left: images to look at, and links to what is on the web. */
export function Artifacts({ paths, signed = {} }: ArtifactsProps) {
  const { artifactsUrl } = useSession().settings;
  const all = [...new Set(paths.filter(Boolean))].map((path) => ({
    path,
    href: hrefOf(path, artifactsUrl) ?? signed[path],
  }));
  const images = all.filter(({ path, href }) => href && IMAGE.test(pathOf(path)));
  const others = all.filter((artifact) => !images.includes(artifact));
  return (
    <div className="grid min-w-0 gap-3">
      {images.length > 0 && (
        <ul className="grid grid-cols-[repeat(auto-fill,minmax(150px,1fr))] gap-3">
          {images.map(({ path, href }) => (
            <li key={path}>
              <Picture path={path} href={href as string} />
            </li>
          ))}
        </ul>
      )}
      {others.length > 0 && (
        <ul className="grid gap-1.5 text-[13px]">
          {others.map(({ path, href }) => (
            <li key={path} className="flex min-w-0 items-baseline gap-2">
              <Other path={path} href={href} />
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

function Picture({ path, href }: { path: string; href: string }) {
  const [isBroken, setBroken] = useState(false);
  if (isBroken) return <Other path={path} href={href} />;
  return (
    <a href={href} target="_blank" rel="noopener noreferrer" className="block" title={path}>
      <img
        src={href}
        alt={nameOf(path)}
        loading="lazy"
        referrerPolicy="no-referrer"
        className="h-28 w-full rounded-lg border border-line bg-track object-contain"
        onError={() => setBroken(true)}
      />
      <span className="mt-1 block truncate text-xs text-quiet">{nameOf(path)}</span>
    </a>
  );
}

function Other({ path, href }: { path: string; href: string | undefined }) {
  const Icon = iconOf(pathOf(path));
  // Playwright's viewer fetches it from the browser, so that it has to be on the web.
  const isTrace = href?.startsWith('https:') && TRACE.test(pathOf(path));
  return (
    <>
      <Icon size={14} aria-hidden className="shrink-0 self-center text-quiet" />
      {href ? (
        <a
          href={href}
          target="_blank"
          rel="noopener noreferrer"
          className="link inline-flex min-w-0 items-center gap-1"
          title={path}
        >
          <span className="truncate">{nameOf(path)}</span>
          <ExternalLink size={12} aria-hidden className="shrink-0" />
        </a>
      ) : (
        <code className="min-w-0 break-all select-all">{path}</code>
      )}
      {isTrace && (
        <a
          href={`https://trace.playwright.dev/?trace=${encodeURIComponent(href as string)}`}
          target="_blank"
          rel="noopener noreferrer"
          className="link whitespace-nowrap"
        >
          in the trace viewer
        </a>
      )}
    </>
  );
}

const iconOf = (path: string): LucideIcon =>
  IMAGE.test(path) ? ImageIcon : FILM.test(path) ? Film : TRACE.test(path) ? ScanSearch : FileText;

/** Without a query and a fragment. */
const pathOf = (path: string): string => path.replace(/[?#].*$/s, '');

const nameOf = (path: string): string => pathOf(path).split('/').filter(Boolean).at(-1) ?? path;
