import {
  Ban,
  Check,
  CircleCheckBig,
  CircleDashed,
  CircleQuestionMark,
  LoaderCircle,
  type LucideIcon,
  Play,
  Shuffle,
  SkipForward,
  TriangleAlert,
  X,
} from 'lucide-react';
import type { Status, TestCounts } from 'runcast-client';
import { countsOf } from './standing.ts';

const ICONS: Record<Status, LucideIcon> = {
  waiting: CircleDashed,
  running: LoaderCircle,
  completed: CircleCheckBig,
  passed: Check,
  failed: X,
  error: TriangleAlert,
  cancelled: Ban,
  skipped: SkipForward,
};

/** In the order in which counts are read: what went well, what did not, what is to come. */
export const STATUSES = [
  'passed',
  'completed',
  'failed',
  'error',
  'cancelled',
  'skipped',
  'running',
  'waiting',
] as const;

export function StatusIcon({
  status,
  size = 15,
  isStill = false,
}: {
  status: Status;
  size?: number;
  /** Whether it says what was, and not what is. */
  isStill?: boolean;
}) {
  // A server that is newer than this page may have another.
  const Icon = isStill && status === 'running' ? Play : (ICONS[status] ?? CircleQuestionMark);
  return (
    <Icon
      size={size}
      strokeWidth={2.4}
      aria-hidden
      className={`hue shrink-0 self-center ${isStill ? 'still' : ''}`}
      data-status={status}
    />
  );
}

/** A status by icon, word and colour: each of them says it alone. */
export function StatusLabel({ status }: { status: Status }) {
  return (
    <span
      className="hue inline-flex items-baseline gap-1.5 text-[13px] font-medium whitespace-nowrap"
      data-status={status}
    >
      <StatusIcon status={status} />
      {status}
    </span>
  );
}

/** The same, larger, of what the whole page is about. */
export function StatusPill({ status }: { status: Status }) {
  return (
    <span
      className="hue tint inline-flex items-center gap-1.5 rounded-full py-1 pr-3 pl-2.5 text-sm font-semibold"
      data-status={status}
    >
      <StatusIcon status={status} size={16} />
      {status}
    </span>
  );
}

/** How many tests stand where, tersely: together as many as there are. */
export function Counts({ tests }: { tests: TestCounts | null }) {
  if (!tests?.total) return null;
  const counts = countsOf(tests);
  return (
    <ul aria-label="Tests" className="flex flex-wrap gap-x-2.5 text-xs">
      {READ.filter((standing) => counts[standing]).map((standing) => (
        <li
          key={standing}
          title={`${counts[standing]} ${standing}`}
          className="inline-flex items-baseline gap-1"
        >
          {standing === 'flaky' ? (
            <Shuffle size={12} aria-hidden className="hue self-center" data-status="flaky" />
          ) : (
            <StatusIcon status={standing} size={12} isStill />
          )}
          <span>{counts[standing].toLocaleString('en')}</span> <span className="sr-only">{standing}</span>
        </li>
      ))}
    </ul>
  );
}

/** In the order in which they are read: what went well, what did not, what is to come. */
const READ = ['passed', 'flaky', 'failed', 'cancelled', 'skipped', 'running', 'waiting'] as const;
