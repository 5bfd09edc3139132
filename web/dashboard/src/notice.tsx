import { CircleAlert, CircleCheck } from 'lucide-react';
import { type ReactNode, useEffect, useState } from 'react';
import type { RuncastError } from 'runcast-client';
import { useConnection } from 'runcast-client/react';
import { saidOf, useIsOffline } from './connection.tsx';
import { useSession } from './session.ts';

/** A break that is over so soon, nobody needs to read about, in milliseconds. */
const SOON_MS = 700;

/** What keeps the page from being up to date, for now or for good. */
export function Notice() {
  const { state, lastError } = useConnection();
  const isOffline = useIsOffline() && state !== 'open';
  const isAway = useLasting(isOffline || state === 'reconnecting', SOON_MS);
  const isRefused = state === 'failed' && !!lastError;
  useEffect(() => {
    // What goes on, is not known.
    document.documentElement.toggleAttribute('data-away', isAway || isRefused);
  }, [isAway, isRefused]);
  return (
    // Always there: a live region that comes together with its text is not read out.
    <div role="status" className="mx-auto max-w-[1240px] px-4 sm:px-6">
      {isAway && (
        <Banner hue="error">
          {isOffline
            ? 'You are offline. What is shown is as it was; the stream goes on from there when the network is back.'
            : 'The stream is interrupted. It comes back by itself, from where it stopped: nothing is lost.'}
          {!isOffline && lastError && <span className="block text-quiet">{saidOf(lastError)}</span>}
        </Banner>
      )}
      {isRefused && (
        <div className="refusal">
          <Banner hue="failed">
            <Refusal error={lastError} />
          </Banner>
        </div>
      )}
    </div>
  );
}

/** Whether that is so, and has been for long enough. */
function useLasting(isSo: boolean, forMs: number): boolean {
  const [hasLasted, setLasted] = useState(false);
  useEffect(() => {
    if (!isSo) return setLasted(false);
    const timer = setTimeout(() => setLasted(true), forMs);
    return () => clearTimeout(timer);
  }, [isSo, forMs]);
  return isSo && hasLasted;
}

export function Banner({ hue, children }: { hue: string; children: ReactNode }) {
  const Icon = hue === 'passed' ? CircleCheck : CircleAlert;
  return (
    <div
      data-status={hue}
      className="hue-border mt-4 flex items-start gap-2.5 rounded-lg border px-3.5 py-2.5 text-sm break-words"
    >
      <Icon size={16} aria-hidden className="hue mt-0.5 shrink-0" data-status={hue} />
      <div className="min-w-0">{children}</div>
    </div>
  );
}

/** Why the server does not serve it, and what to do. */
function Refusal({ error }: { error: Pick<RuncastError, 'status' | 'message'> }) {
  const { signInUrl } = useSession().settings;
  return (
    <>
      {error.status === 401 && <b className="block font-semibold">You are signed out</b>}
      {saidOf(error)}{' '}
      {error.status === 401
        ? signInUrl
          ? ''
          : 'Sign in, then reload this page.'
        : error.status === 404
          ? 'Look whether the id is right; else your token does not cover it: choose another project above, or ask for access.'
          : error.status
            ? 'What is shown here no longer changes.'
            : 'Look whether the functions are where config.json says.'}
      {error.status === 401 && signInUrl && (
        <a href={signInUrl} className="link font-medium whitespace-nowrap">
          Sign in again
        </a>
      )}
    </>
  );
}

/** The same, where it stands in the place of what was asked for. */
export function Refused({ error, retry }: { error: RuncastError; retry: () => void }) {
  return (
    <div role="alert" className="empty refused">
      <p className="mx-auto max-w-2xl text-text">
        <Refusal error={error} />
      </p>
      <button type="button" className="button mt-4" onClick={retry}>
        Try again
      </button>
    </div>
  );
}
