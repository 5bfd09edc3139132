import { type ReactNode, useId } from 'react';

/** A section with a heading, and how many things are in it. */
export function Panel(props: {
  title: string;
  count?: number | string | undefined;
  aside?: ReactNode;
  children: ReactNode;
}) {
  const id = useId();
  return (
    <section aria-labelledby={id} className="min-w-0">
      <div className="mb-2.5 flex items-baseline gap-2">
        <h2 id={id} className="text-[15px] font-semibold tracking-tight">
          {props.title}
        </h2>
        {!!props.count && <span className="text-[13px] text-quiet">{props.count}</span>}
        <span className="ml-auto text-[13px] text-quiet">{props.aside}</span>
      </div>
      {props.children}
    </section>
  );
}

/** What stands where there is nothing: why, and what to do next. */
export function Empty({ children }: { children: ReactNode }) {
  return <div className="empty">{children}</div>;
}

/** What stands where something will be in a moment. */
export function Skeleton({ rows, className = 'h-[66px]' }: { rows: number; className?: string }) {
  return (
    <div role="status" className="grid gap-2.5">
      <span className="sr-only">Loading …</span>
      {Array.from({ length: rows }, (_, row) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: they are all the same
        <div key={row} className={`skeleton rounded-xl border border-line bg-surface ${className}`} />
      ))}
    </div>
  );
}
