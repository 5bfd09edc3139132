import { CircleAlert, CircleCheck, Radio, RefreshCw, WifiOff } from 'lucide-react';
import { useSyncExternalStore } from 'react';
import type { ConnectionSnapshot, ConnectionState } from 'runcast-client';
import { useConnection } from 'runcast-client/react';
import { Menu } from './menu.tsx';
import { type Session, useSession } from './session.ts';
import { useNow } from './time.ts';

type Shown = ConnectionState | 'offline';

const CONNECTIONS: Record<Shown, { word: string; Icon: typeof Radio; hue: string }> = {
  idle: { word: 'Connecting', Icon: RefreshCw, hue: 'waiting' },
  connecting: { word: 'Connecting', Icon: RefreshCw, hue: 'waiting' },
  open: { word: 'Live', Icon: Radio, hue: 'passed' },
  reconnecting: { word: 'Reconnecting', Icon: RefreshCw, hue: 'error' },
  ended: { word: 'Complete', Icon: CircleCheck, hue: 'completed' },
  failed: { word: 'Refused', Icon: CircleAlert, hue: 'failed' },
  offline: { word: 'Offline', Icon: WifiOff, hue: 'error' },
};

/** From here on an event counts as late, in milliseconds. */
const LATE_MS = 400;

/** Whether the browser says that there is no network. */
export function useIsOffline(): boolean {
  return useSyncExternalStore(
    (listener) => {
      addEventListener('online', listener);
      addEventListener('offline', listener);
      return () => {
        removeEventListener('online', listener);
        removeEventListener('offline', listener);
      };
    },
    () => !navigator.onLine,
  );
}

/** How the stream does; in it, the figures. */
export function ConnectionBadge() {
  const connection = useConnection();
  const isOffline = useIsOffline() && connection.state !== 'open';
  const { word, Icon, hue } = CONNECTIONS[isOffline ? 'offline' : connection.state];
  const { latencyMs, state } = connection;
  const isLate = latencyMs !== null && latencyMs >= LATE_MS && state === 'open';
  return (
    <Menu
      title="How the stream does"
      panelClassName="right-0 w-72"
      label={
        <output
          id="connection"
          data-state={state}
          data-status={isLate ? 'error' : hue}
          className="hue tint inline-flex items-center gap-1.5 rounded-full px-2.5 py-1 text-[13px] font-medium whitespace-nowrap"
        >
          <Icon size={14} strokeWidth={2.2} aria-hidden className={Icon === RefreshCw ? 'turning' : ''} />
          <span className="max-[400px]:sr-only">{word}</span>
          {latencyMs !== null && state === 'open' && (
            <span className="font-normal max-sm:hidden" aria-hidden>
              {isLate
                ? `${(latencyMs / 1000).toFixed(1)} s behind`
                : `${Math.max(0, Math.round(latencyMs))} ms`}
            </span>
          )}
        </output>
      }
    >
      <Figures connection={connection} />
    </Menu>
  );
}

function Figures({ connection }: { connection: ConnectionSnapshot }) {
  const session = useSession();
  const renewals = useSyncExternalStore(session.subscribe, session.renewalsNow);
  const median = useMedian(session);
  const { reconnects, lastError } = connection;
  return (
    <>
      <dl className="grid grid-cols-[1fr_auto] gap-x-4 gap-y-1.5">
        <dt className="text-quiet">Delivery, median</dt>
        <dd>{median === undefined ? 'no event yet' : `${median} ms`}</dd>
        <dt className="text-quiet">Reconnects</dt>
        <dd id="reconnects">{reconnects}</dd>
        <dt className="text-quiet">Token renewed</dt>
        <dd id="renewals">{renewals}</dd>
      </dl>
      {lastError && <p className="break-words">{saidOf(lastError)}</p>}
      <p className="text-xs text-quiet">
        From when an event occurred to when it is here, by two clocks. All tabs share one stream of each kind.
      </p>
    </>
  );
}

/** What went wrong, with its status, where there was an answer. */
export function saidOf({ status, message }: { status: number; message: string }): string {
  return status && !message.includes(String(status)) ? `${message} (${status})` : message;
}

/** As it was in the last second: each event has a latency, and nobody reads that fast. */
function useMedian(session: Session): number | undefined {
  useNow();
  const { latencies } = session;
  const median = latencies.toSorted((one, other) => one - other)[Math.floor(latencies.length / 2)];
  return median === undefined ? undefined : Math.max(0, Math.round(median));
}
