import { ChevronsUpDown, Monitor, Moon, Sun } from 'lucide-react';
import { useState } from 'react';
import { ConnectionBadge } from './connection.tsx';
import { Menu } from './menu.tsx';
import { hrefOfProject, type Route } from './route.ts';
import { useSession } from './session.ts';
import { ShortcutsButton } from './shortcuts.tsx';
import { setTheme, type Theme, useTheme } from './theme.ts';

/** The name, the pages, how the stream does, and how the page looks. */
export function Header({ route, projectId }: { route: Route; projectId: string }) {
  return (
    <header className="sticky top-0 z-10 border-b border-line bg-page/90 backdrop-blur">
      <div className="mx-auto flex max-w-[1240px] flex-wrap items-center gap-x-2 gap-y-1.5 px-4 py-2.5 sm:gap-x-4 sm:px-6">
        <h1 className="text-[17px] font-semibold tracking-tight">
          <a href="#/" className="flex items-center gap-2.5" aria-label="Runcast">
            <Mark />
            <span className="max-sm:sr-only">Runcast</span>
          </a>
        </h1>
        <ProjectMenu projectId={projectId} />
        <nav aria-label="Pages" className="mr-auto flex gap-1 text-sm">
          <PageLink href={hrefOfProject(projectId)} isCurrent={route.page === 'project'}>
            Runs
          </PageLink>
          <PageLink href="#/queues" isCurrent={route.page === 'queues'}>
            Queues
          </PageLink>
        </nav>
        <ConnectionBadge />
        <ThemeToggle />
        <ShortcutsButton />
      </div>
    </header>
  );
}

function PageLink(props: { href: string; isCurrent: boolean; children: string }) {
  return (
    <a
      href={props.href}
      aria-current={props.isCurrent ? 'page' : undefined}
      className="rounded-md px-2 py-1 font-medium text-quiet hover:text-text aria-[current=page]:bg-track aria-[current=page]:text-text"
    >
      {props.children}
    </a>
  );
}

/** Which project is looked at; another can be chosen, or typed. */
function ProjectMenu({ projectId }: { projectId: string }) {
  const { settings } = useSession();
  const [typed, setTyped] = useState('');
  const known = [...new Set([settings.projectId, ...(settings.projects ?? []), projectId])].filter(Boolean);
  const isId = /^[\w-]{1,128}$/.test(typed);
  return (
    <Menu
      title="Choose another project"
      panelClassName="left-0 w-64 max-sm:-left-9"
      label={
        <span className="inline-flex max-w-28 items-center gap-1 rounded-md bg-track px-2 py-1 text-[13px] font-medium sm:max-w-52">
          <span className="sr-only">Project </span>
          <span id="project" className="truncate">
            {projectId || 'choose'}
          </span>
          <ChevronsUpDown size={12} aria-hidden className="shrink-0 text-quiet" />
        </span>
      }
    >
      <ul className="grid gap-0.5" aria-label="Projects">
        {known.map((id) => (
          <li key={id}>
            <a
              href={hrefOfProject(id)}
              aria-current={id === projectId ? 'true' : undefined}
              className="row block truncate rounded-md px-2 py-1.5 aria-[current]:font-semibold"
            >
              {id}
            </a>
          </li>
        ))}
      </ul>
      <form
        className="flex gap-2"
        onSubmit={(event) => {
          event.preventDefault();
          if (!isId) return;
          location.hash = hrefOfProject(typed);
          setTyped('');
          event.currentTarget.closest('details')?.removeAttribute('open');
        }}
      >
        <input
          aria-label="Another project"
          placeholder="Another project …"
          value={typed}
          onChange={({ target }) => setTyped(target.value.trim())}
          className="field min-w-0 flex-1"
        />
        <button type="submit" aria-disabled={!isId} className="button">
          Go
        </button>
      </form>
    </Menu>
  );
}

const THEMES: { theme: Theme; word: string; Icon: typeof Sun }[] = [
  { theme: 'light', word: 'Light', Icon: Sun },
  { theme: 'system', word: 'As the system', Icon: Monitor },
  { theme: 'dark', word: 'Dark', Icon: Moon },
];

function ThemeToggle() {
  const chosen = useTheme();
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset's legend cannot be laid out
    <div
      role="group"
      aria-label="Colours"
      className="flex rounded-lg border border-line p-0.5 max-[430px]:hidden"
    >
      {THEMES.map(({ theme, word, Icon }) => (
        <button
          key={theme}
          type="button"
          aria-pressed={theme === chosen}
          aria-label={word}
          title={word}
          onClick={() => setTheme(theme)}
          className="grid size-6.5 place-items-center rounded-md text-quiet hover:text-text aria-pressed:bg-track aria-pressed:text-text"
        >
          <Icon size={14} aria-hidden />
        </button>
      ))}
    </div>
  );
}

function Mark() {
  return (
    <svg
      viewBox="0 0 16 16"
      aria-hidden="true"
      className="size-[18px] fill-none stroke-accent stroke-2"
      strokeLinecap="round"
    >
      <circle cx="3" cy="13" r="1" />
      <path d="M3 8a5 5 0 0 1 5 5M3 3a10 10 0 0 1 10 10" />
    </svg>
  );
}
