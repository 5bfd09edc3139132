import { type ReactNode, useEffect, useRef } from 'react';

/** What opens under its label; Escape, a click elsewhere and a link in it close it. */
export function Menu(props: {
  label: ReactNode;
  title: string;
  children: ReactNode;
  className?: string;
  panelClassName?: string;
}) {
  const details = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const menu = details.current;
    if (!menu) return;
    const close = (isFocused: boolean) => {
      if (!menu.open) return;
      menu.open = false;
      if (isFocused) menu.querySelector('summary')?.focus();
    };
    const click = ({ target }: MouseEvent) => {
      const isInside = target instanceof Node && menu.contains(target);
      if (!isInside || (target as Element).closest?.('a')) close(false);
    };
    const press = (event: KeyboardEvent) => {
      if (event.key !== 'Escape' || !menu.open) return;
      event.stopPropagation();
      close(true);
    };
    const leave = ({ relatedTarget }: FocusEvent) => {
      if (relatedTarget instanceof Node && !menu.contains(relatedTarget)) close(false);
    };
    document.addEventListener('click', click);
    menu.addEventListener('keydown', press);
    menu.addEventListener('focusout', leave);
    return () => {
      document.removeEventListener('click', click);
      menu.removeEventListener('keydown', press);
      menu.removeEventListener('focusout', leave);
    };
  }, []);
  return (
    <details ref={details} className={`menu relative ${props.className ?? ''}`}>
      <summary title={props.title} className="cursor-pointer list-none rounded-lg">
        {props.label}
      </summary>
      <div
        className={`card absolute z-20 mt-2 grid max-w-[calc(100vw-32px)] gap-3 p-4 text-[13px] shadow-lg ${props.panelClassName ?? 'left-0'}`}
      >
        {props.children}
      </div>
    </details>
  );
}
