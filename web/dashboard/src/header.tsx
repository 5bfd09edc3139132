import * as ToggleGroup from '@radix-ui/react-toggle-group';
import { CircleAlert, Monitor, Moon, Radio, RefreshCw, Sun, Unplug } from 'lucide-react';
import type { ConnectionState } from 'runcast-client';
import type { Snapshot } from './live.ts';
import { setTheme, type Theme, useTheme } from './theme.ts';

/** The name, how the stream does, and how the page looks. */
export function Header({ snapshot, projectId }: { snapshot: Snapshot; projectId: string }) {
  const { reconnects, renewals } = snapshot;
  return (
    <header className="sticky top-0 z-10 mb-7 border-b border-line bg-page/85 backdrop-blur">
      <div className="mx-auto flex max-w-[1240px] flex-wrap items-center gap-x-2.5 gap-y-2 sm:gap-x-5 px-4 py-3 sm:px-6">
        <h1 className="mr-auto flex min-w-0 items-center gap-2.5 text-[17px] font-semibold tracking-tight">
          <a href="#/" className="flex items-center gap-2.5">
            <Mark />
            Runcast
          </a>
          <span className="truncate rounded-md max-[430px]:hidden bg-track px-1.5 py-0.5 text-xs font-medium tracking-normal text-quiet">
            {projectId}
          </span>
        </h1>
        <p className="order-last flex basis-full gap-4 text-[13px] text-quiet sm:order-none sm:basis-auto">
          <span>
            Reconnects <b id="reconnects">{reconnects}</b>
          </span>
          {renewals > 0 && (
            <span>
              Token renewed <b id="renewals">{renewals}</b>×
            </span>
          )}
        </p>
        <ConnectionBadge state={snapshot.connection} />
        <ThemeToggle />
      </div>
    </header>
  );
}

const CONNECTIONS: Record<ConnectionState, { word: string; Icon: typeof Radio; hue: string }> = {
  idle: { word: 'Connecting', Icon: RefreshCw, hue: 'waiting' },
  connecting: { word: 'Connecting', Icon: RefreshCw, hue: 'waiting' },
  open: { word: 'Live', Icon: Radio, hue: 'passed' },
  reconnecting: { word: 'Reconnecting', Icon: RefreshCw, hue: 'error' },
  ended: { word: 'Ended', Icon: Unplug, hue: 'waiting' },
  failed: { word: 'Refused', Icon: CircleAlert, hue: 'failed' },
};

function ConnectionBadge({ state }: { state: ConnectionState }) {
  const { word, Icon, hue } = CONNECTIONS[state];
  return (
    <output
      id="connection"
      data-state={state}
      data-status={hue}
      className="hue tint inline-flex items-center gap-1.5 rounded-full px-2.5 py-1 text-[13px] font-medium"
    >
      <Icon size={14} strokeWidth={2.2} aria-hidden className={Icon === RefreshCw ? 'turning' : ''} />
      {word}
    </output>
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
    <ToggleGroup.Root
      type="single"
      value={chosen}
      onValueChange={(theme) => theme && setTheme(theme as Theme)}
      aria-label="Colours"
      className="flex rounded-lg border border-line p-0.5"
    >
      {THEMES.map(({ theme, word, Icon }) => (
        <ToggleGroup.Item
          key={theme}
          value={theme}
          aria-label={word}
          title={word}
          className="grid size-6.5 place-items-center rounded-md text-quiet hover:text-text data-[state=on]:bg-track data-[state=on]:text-text"
        >
          <Icon size={14} aria-hidden />
        </ToggleGroup.Item>
      ))}
    </ToggleGroup.Root>
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
