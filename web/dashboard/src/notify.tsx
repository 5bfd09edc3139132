import { Bell, BellRing } from 'lucide-react';
import { useState } from 'react';
import { isTerminal, type JobState } from 'runcast-client';

/** The runs whose end this tab notifies of. */
const asked = new Set<string>();

/** Lets the browser tell when the run ends, for whoever looks elsewhere. */
export function NotifyButton({ run }: { run: JobState }) {
  const [isOn, setOn] = useState(asked.has(run.runId));
  const [isRefused, setRefused] = useState(false);
  if (!('Notification' in globalThis)) return null;
  const press = async () => {
    if (asked.delete(run.runId)) return setOn(false);
    const permission = await Notification.requestPermission();
    setRefused(permission !== 'granted');
    if (permission !== 'granted') return;
    asked.add(run.runId);
    setOn(true);
  };
  const Icon = isOn ? BellRing : Bell;
  return (
    <button type="button" className="choice" aria-pressed={isOn} onClick={press}>
      <Icon size={14} aria-hidden />
      {isRefused ? 'The browser does not allow it' : 'Notify me at its end'}
    </button>
  );
}

/** Notifies of the end of a run, where that was asked for. */
export function notify(run: JobState): void {
  if (!isTerminal(run.status) || !asked.delete(run.runId)) return;
  try {
    const { failed = 0, error = 0, total = 0 } = run.tests ?? {};
    const body = total ? `${failed + error} of ${total} tests failed` : (run.errorDetails ?? '');
    const shown = new Notification(`${run.name ?? run.runId}: ${run.status}`, { body, tag: run.runId });
    shown.onclick = () => {
      window.focus();
      shown.close();
    };
  } catch {
    // Android shows none that no service worker sends.
  }
}
