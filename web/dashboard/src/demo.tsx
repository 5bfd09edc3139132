import { Clapperboard, Database, KeyRound, type LucideIcon, Zap } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { toast } from 'sonner';
import type { Live, Snapshot } from './live.ts';
import { Panel } from './panel.tsx';
import { post, type Settings } from './settings.ts';

const OUTAGE_SECONDS = 10;
/** How long the token lives that a visitor lets expire. */
const TOKEN_SECONDS = 5;
/** Apart from the toasts of runs. */
const TOP = 'top-center';
/** Buttons act on all tabs: any of them may hold the streams. */
const CHANNEL = 'runcast-demo';

/** Buttons that start something, and break it: only where the stack's own page is served. */
export function Demo({
  live,
  snapshot,
  servers,
}: {
  live: Live;
  snapshot: Snapshot;
  servers: NonNullable<Settings['local']>;
}) {
  const [busy, setBusy] = useState<ReadonlySet<string>>(new Set());
  const expire = useExpiry(live, snapshot.renewals);
  const press = async (name: string, action: () => Promise<unknown>) => {
    setBusy((before) => new Set(before).add(name));
    try {
      await action();
    } catch (error) {
      toast.error(name, { description: (error as Error).message });
    }
    setBusy((before) => new Set([...before].filter((other) => other !== name)));
  };
  const fault = (server: 'redis' | 'postgres', name: string) => async () => {
    const done = post(`/_local/faults/${server}?seconds=${OUTAGE_SECONDS}`);
    toast.warning(`${name} is killed`, {
      id: server,
      position: TOP,
      description: `It comes back in ${OUTAGE_SECONDS} seconds. Watch the runs meanwhile.`,
      duration: OUTAGE_SECONDS * 1000,
    });
    await done.catch((error) => {
      toast.dismiss(server);
      throw error;
    });
    toast.success(`${name} is back`, {
      id: server,
      position: TOP,
      description: 'No event was lost.',
      duration: 6000,
    });
  };
  const button = (
    name: string,
    does: string,
    Icon: LucideIcon,
    action: () => Promise<unknown>,
    isPossible = true,
  ) => (
    <Button
      name={name}
      does={isPossible ? does : 'This one was given to the stack, which leaves it alone'}
      Icon={Icon}
      isBusy={busy.has(name)}
      isPossible={isPossible}
      onClick={() => press(name, action)}
    />
  );
  return (
    <Panel title="Try to break it">
      <div className="card divide-y divide-line overflow-hidden">
        {button('Start a scene', 'Seven job runs with their tests', Clapperboard, () =>
          post('/_local/scene'),
        )}
        {button(
          'Break Redis',
          `Kills it for ${OUTAGE_SECONDS} s; events come from Postgres`,
          Zap,
          fault('redis', 'Redis'),
          servers.redis,
        )}
        {button(
          'Break Postgres',
          `Kills it for ${OUTAGE_SECONDS} s; updates wait for it`,
          Database,
          fault('postgres', 'Postgres'),
          servers.postgres,
        )}
        {button(
          'Expire the token',
          `Takes one that lives ${TOKEN_SECONDS} s; it is renewed`,
          KeyRound,
          expire,
        )}
      </div>
    </Panel>
  );
}

/** Lets the token expire in every tab; resolves when another has taken its place. */
function useExpiry(live: Live, renewals: number): () => Promise<void> {
  const renewed = useRef<{ from: number; resolve: () => void }>(undefined);
  const channel = useRef<BroadcastChannel>(undefined);
  useEffect(() => {
    const heard = new BroadcastChannel(CHANNEL);
    heard.onmessage = () => live.watchWithToken(TOKEN_SECONDS);
    channel.current = heard;
    return () => heard.close();
  }, [live]);
  useEffect(() => {
    // The first is the short one, the second follows it.
    if (renewed.current && renewals >= renewed.current.from + 2) {
      renewed.current.resolve();
      renewed.current = undefined;
    }
  }, [renewals]);
  return async () => {
    const done = new Promise<void>((resolve) => {
      renewed.current = { from: renewals, resolve };
    });
    channel.current?.postMessage('expire');
    live.watchWithToken(TOKEN_SECONDS);
    const late = new Promise<void>((resolve) => setTimeout(resolve, (TOKEN_SECONDS + 5) * 1000));
    toast.promise(Promise.race([done, late]), {
      position: TOP,
      loading: `A token that lives ${TOKEN_SECONDS} seconds`,
      success: 'The token expired, the stream went on with another',
    });
    await Promise.race([done, late]);
  };
}

function Button(props: {
  name: string;
  does: string;
  Icon: LucideIcon;
  isBusy: boolean;
  isPossible: boolean;
  onClick: () => void;
}) {
  const { name, does, Icon, isBusy, isPossible, onClick } = props;
  return (
    <button
      type="button"
      // Not `disabled`, which would take the focus away.
      aria-disabled={isBusy || !isPossible}
      onClick={isBusy || !isPossible ? undefined : onClick}
      className="row flex w-full items-start gap-3 px-4 py-3 text-left aria-disabled:cursor-default"
    >
      <Icon size={16} aria-hidden className={`mt-0.5 shrink-0 text-accent ${isBusy ? 'pulsing' : ''}`} />
      <span>
        <span className="block text-sm font-medium">
          {name}
          {isBusy && <span className="font-normal text-quiet"> …</span>}
        </span>
        <span className="block text-[13px] text-quiet">{does}</span>
      </span>
    </button>
  );
}
