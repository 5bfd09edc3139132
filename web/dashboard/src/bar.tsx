import { isTerminal, type JobState, type Progress, type TestCounts } from 'runcast-client';
import { STATUSES } from './status.tsx';

/** What is drawn of a run, in its order: how it stands, and how much of the whole that is. */
interface Segment {
  hue: string;
  name: string;
  count: number;
}

/** How far a run is: each of its tests by how it stands, or as much as is completed. */
export function Bar({ run, isLarge = false }: { run: JobState; isLarge?: boolean }) {
  const { segments, total } = segmentsOf(run);
  if (!total) return <div className={isLarge ? 'h-2.5' : 'h-1.5'} />;
  const isOver = isTerminal(run.status);
  const said = segments.map(({ name, count }) => `${count} ${name}`).join(', ');
  const ended = segments.filter(({ hue }) => hue !== 'running').reduce((sum, { count }) => sum + count, 0);
  return (
    <div
      {...(isOver
        ? { role: 'img', 'aria-label': said }
        : {
            role: 'progressbar',
            'aria-label': 'Progress',
            'aria-valuenow': Math.round((100 * ended) / total),
            'aria-valuetext': `${ended} of ${total}: ${said || 'nothing yet'}`,
          })}
      className={`bar flex overflow-hidden rounded-full bg-track ${isLarge ? 'h-2.5' : 'h-1.5'} ${run.stale ? 'stale' : ''}`}
    >
      {segments.map(({ hue, name, count }) => (
        <span
          key={name}
          data-status={hue}
          title={isLarge ? `${count} ${name}` : undefined}
          className="segment h-full"
          style={{ width: `max(${(100 * count) / total}%, 3px)` }}
        />
      ))}
    </div>
  );
}

function segmentsOf({ status, progress, tests }: JobState): { segments: Segment[]; total: number } {
  if (tests?.total) return { segments: ofTests(tests), total: tests.total };
  // What ended well is whole, whatever it said of its progress before.
  if (status === 'passed' || status === 'completed')
    return { segments: [{ hue: status, name: status, count: 1 }], total: 1 };
  return ofProgress(progress, status);
}

function ofTests(tests: TestCounts): Segment[] {
  const counted = STATUSES.filter((status) => status !== 'waiting' && tests[status]);
  return counted.flatMap((status) => {
    const segment = { hue: status, name: status, count: tests[status] };
    if (status !== 'passed' || !tests.flaky) return [segment];
    const flaky = Math.min(tests.flaky, tests.passed);
    const steady = { ...segment, count: tests.passed - flaky };
    return [...(steady.count ? [steady] : []), { hue: 'flaky', name: 'flaky', count: flaky }];
  });
}

function ofProgress(progress: Progress | null, status: string): { segments: Segment[]; total: number } {
  if (!progress?.total) {
    const isEnd = status !== 'running' && status !== 'waiting';
    return { segments: isEnd ? [{ hue: status, name: status, count: 1 }] : [], total: 1 };
  }
  const count = Math.min(progress.completed, progress.total);
  const hue = status === 'running' || status === 'waiting' ? 'done' : status;
  return { segments: count ? [{ hue, name: 'done', count }] : [], total: progress.total };
}

/** How much is done, in words. */
export function done({ completed, total }: Progress): string {
  return total == null ? `${completed} done` : `${completed} of ${total}`;
}
