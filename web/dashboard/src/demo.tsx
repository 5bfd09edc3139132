import { Clapperboard, Database, KeyRound, type LucideIcon, Zap } from 'lucide-react';
import { useState } from 'react';
import type { JobState } from 'runcast-client';
import { toast } from 'sonner';
import { type Fault, faultNow, tellFault, useFault } from './fault.ts';
import { Banner } from './notice.tsx';
import { type Session, useSession } from './session.ts';
import { post, type Settings } from './settings.ts';
import { Tally } from './tally.ts';
import { useNow } from './time.ts';

const OUTAGE_SECONDS = 10;
/** Where no run had an event for so long, nothing goes on, in milliseconds. */
const LIVELY_MS = 5_000;
/** How long the token lives that a visitor lets expire. */
const TOKEN_SECONDS = 5;
/** Apart from the toasts of runs. */
const TOP = 'top-center';

interface DemoProps {
  servers: NonNullable<Settings['local']>;
  projectId: string;
  /** Those in progress. */
  runs: readonly JobState[];
}

/** Buttons that start something, and break it: only where the stack's own page is served. */
export function Demo({ servers, projectId, runs }: DemoProps) {
  const session = useSession();
  const scene = useScene();
  const expire = useAction('Expire the token', () => expiry(session));
  const fault = useFault();
  const redis = useAction('Break Redis', () => outage(session, projectId, 'redis', runs));
  const postgres = useAction('Break Postgres', () => outage(session, projectId, 'postgres', runs));
  const isBroken = fault?.phase === 'away' || fault?.phase === 'counting';
  return (
    <section
      aria-label="Try to break it"
      className="card grid grid-cols-2 items-center gap-2 px-3 py-2.5 sm:flex sm:flex-wrap"
    >
      <span className="col-span-2 mr-1 text-[13px] font-medium">Try to break it</span>
      <DemoButton
        name="Start a scene"
        does="Seven job runs with their tests"
        Icon={Clapperboard}
        {...scene}
      />
      <DemoButton
        name="Break Redis"
        does={`Kills it for ${OUTAGE_SECONDS} s; events come from Postgres`}
        Icon={Zap}
        {...redis}
        isBusy={isBroken}
        isPossible={servers.redis}
      />
      <DemoButton
        name="Break Postgres"
        does={`Kills it for ${OUTAGE_SECONDS} s; updates wait for it`}
        Icon={Database}
        {...postgres}
        isBusy={isBroken}
        isPossible={servers.postgres}
      />
      <DemoButton
        name="Expire the token"
        does={`Takes one that lives ${TOKEN_SECONDS} s; it is renewed`}
        Icon={KeyRound}
        {...expire}
      />
    </section>
  );
}

/** What a broken server means for whoever watches, and, in the end, whether anything was lost. */
export function FaultNotice() {
  const fault = useFault();
  return (
    <div role="status" id="fault" className="mx-auto max-w-[1240px] px-4 sm:px-6">
      {fault && (
        <Banner hue={fault.phase === 'kept' ? 'passed' : fault.phase === 'lost' ? 'failed' : 'error'}>
          <FaultText fault={fault} />
        </Banner>
      )}
    </div>
  );
}

function FaultText({ fault: { server, phase, until, count } }: { fault: Fault }) {
  const now = useNow();
  const name = server === 'redis' ? 'Redis' : 'Postgres';
  if (phase === 'away') {
    const left = Math.ceil((until - now) / 1000);
    return (
      <>
        <b>{name} is killed</b>
        {left > 0 ? `, for ${left} s more` : ', and is started again'}.{' '}
        {server === 'redis'
          ? 'The streams stay open and read the log in Postgres, once a second: events come late, none is lost.'
          : 'What is committed has been sent; updates wait with their producers until it is back.'}
      </>
    );
  }
  if (phase === 'counting') return `${name} is back. Counting what came against the log …`;
  const { came = 0, logged = 0 } = count ?? {};
  const events = `${logged.toLocaleString('en')} ${logged === 1 ? 'event' : 'events'}`;
  if (phase === 'lost') return `${came.toLocaleString('en')} of ${events} in the log came to this page.`;
  return (
    <>
      <b>No event was lost:</b> since {name} was killed the log has {events} of runs, and all of them came to
      this page.
    </>
  );
}

async function outage(
  session: Session,
  projectId: string,
  server: Fault['server'],
  runs: readonly JobState[],
) {
  const tally = new Tally(session.client, projectId);
  const until = Date.now() + OUTAGE_SECONDS * 1000;
  // Where nothing goes on, there would be nothing to see.
  const isLively = runs.some(({ occurredAt }) => Date.parse(occurredAt ?? '') > Date.now() - LIVELY_MS);
  if (!isLively) await post('/_local/scene').catch(() => {});
  tellFault({ server, phase: 'away', until });
  try {
    await post(`/_local/faults/${server}?seconds=${OUTAGE_SECONDS}`);
    tellFault({ server, phase: 'counting', until });
    const count = await tally.compare();
    tellFault({ server, phase: count.came < count.logged ? 'lost' : 'kept', until, count });
  } catch (error) {
    tally.close();
    if (faultNow()?.until === until) tellFault(undefined);
    throw error;
  }
}

interface Action {
  isBusy: boolean;
  start: () => void;
}

/** Something that takes a while, and may go wrong. */
function useAction(name: string, act: () => Promise<unknown>): Action {
  const [isBusy, setBusy] = useState(false);
  const start = () => {
    setBusy(true);
    act()
      .catch((error: Error) => toast.error(name, { position: TOP, description: error.message }))
      .finally(() => setBusy(false));
  };
  return { isBusy, start };
}

export const useScene = (): Action => useAction('Start a scene', () => post('/_local/scene'));

/** Lets the token expire in every tab; resolves when another has taken its place, or it takes too long. */
async function expiry(session: Session): Promise<void> {
  const renewed = session.expire(TOKEN_SECONDS);
  const late = new Promise<never>((_, reject) => setTimeout(reject, (TOKEN_SECONDS + 5) * 1000));
  const outcome = Promise.race([renewed, late]);
  toast.promise(outcome, {
    position: TOP,
    loading: `A token that lives ${TOKEN_SECONDS} seconds`,
    success: 'The token expired, the stream went on with another',
    error: 'No token was renewed here: this tab may share another tab’s stream; look there',
  });
  await outcome.catch(() => {});
}

function DemoButton(props: Action & { name: string; does: string; Icon: LucideIcon; isPossible?: boolean }) {
  const { name, does, Icon, isBusy, isPossible = true, start } = props;
  return (
    <button
      type="button"
      // Not `disabled`, which would take the focus away.
      aria-disabled={isBusy || !isPossible}
      onClick={isBusy || !isPossible ? undefined : start}
      title={isPossible ? does : 'This one was given to the stack, which leaves it alone'}
      className="button max-sm:px-2"
    >
      <Icon size={14} aria-hidden className={`shrink-0 text-accent ${isBusy ? 'pulsing' : ''}`} />
      {name}
    </button>
  );
}
