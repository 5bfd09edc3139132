import { Clapperboard, Database, KeyRound, type LucideIcon, Zap } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { toast } from 'sonner';
import type { Live } from './live.ts';
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
export function Demo({ live, servers }: { live: Live; servers: NonNullable<Settings['local']> }) {
  const [busy, setBusy] = useState<ReadonlySet<string>>(new Set());
  const expire = useExpiry(live);
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

/** Lets the token expire in every tab; resolves when another has taken its place, or it takes too long. */
function useExpiry(live: Live): () => Promise<void> {
  const channel = useRef<BroadcastChannel>(undefined);
  useEffect(() => {
    const heard = new BroadcastChannel(CHANNEL);
    heard.onmessage = () => live.watchWithToken(TOKEN_SECONDS);
    channel.current = heard;
    return () => heard.close();
  }, [live]);
  return async () => {
    channel.current?.postMessage('expire');
    const renewed = live.watchWithToken(TOKEN_SECONDS);
    const late = new Promise<never>((_, reject) => setTimeout(reject, (TOKEN_SECONDS + 5) * 1000));
    const outcome = Promise.race([renewed, late]);
    toast.promise(outcome, {
      position: TOP,
      loading: `A token that lives ${TOKEN_SECONDS} seconds`,
      success: 'The token expired, the stream went on with another',
      error: 'No token was renewed here: this tab may share another tab’s stream; look there',
    });
    await outcome.catch(() => {});
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
