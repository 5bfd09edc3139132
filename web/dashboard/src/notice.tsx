import { CircleAlert } from 'lucide-react';
import type { RuncastError } from 'runcast-client';
import type { Snapshot } from './live.ts';

/** What went wrong for good, or for now, and what to do. */
export function Notice({ snapshot }: { snapshot: Snapshot }) {
  const { error, connection, isKnown } = snapshot;
  const isAway = !error && connection === 'reconnecting';
  return (
    <div className="mx-auto max-w-[1240px] px-4 sm:px-6">
      {/* Always there: a live region that comes together with its text is not read out. */}
      <div role="status">{isAway && <Text status="error">{away(isKnown)}</Text>}</div>
      {error && (
        <div role="alert">
          <Text status="failed">{refusal(error)}</Text>
        </div>
      )}
    </div>
  );
}

function Text({ status, children }: { status: 'failed' | 'error'; children: string }) {
  return (
    <p
      data-status={status}
      className="hue-border mb-7 flex items-start gap-2.5 rounded-lg border px-3.5 py-2.5 text-sm"
    >
      <CircleAlert size={16} aria-hidden className="hue mt-0.5 shrink-0" data-status={status} />
      <span>{children}</span>
    </p>
  );
}

function refusal({ status, message, problem }: RuncastError): string {
  if (!problem) return `${message} The functions are not there: look at apiUrl in config.json, then reload.`;
  if (status === 401) return `${message} Sign in again, then reload this page.`;
  if (status === 404)
    return `${message} Your token does not cover it: choose another project, or ask for access.`;
  return `${message} Reload to try again; what is shown here no longer changes.`;
}

const away = (isKnown: boolean): string =>
  isKnown
    ? 'The stream is interrupted. It comes back by itself, from where it stopped: nothing is lost.'
    : 'The functions do not answer yet. Trying again …';
