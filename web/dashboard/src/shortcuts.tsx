import { Keyboard } from 'lucide-react';
import { useRef } from 'react';
import { useKey } from './keys.ts';

const SHORTCUTS = [
  ['/', 'Search'],
  ['j', 'Next in the list'],
  ['k', 'The one before'],
  ['Enter', 'Open it'],
  ['← →', 'The failure before, the next'],
  ['Esc', 'Close, or leave the search'],
  ['g', 'To the runs'],
  ['?', 'These keys'],
];

/** What keys there are. */
export function ShortcutsButton() {
  const dialog = useRef<HTMLDialogElement>(null);
  const open = () => dialog.current?.showModal();
  useKey({
    '?': open,
    g: () => {
      location.hash = '#/';
    },
  });
  return (
    <>
      <button
        type="button"
        aria-label="Keys"
        title="Keys (?)"
        onClick={open}
        className="icon-button max-sm:hidden"
      >
        <Keyboard size={16} aria-hidden />
      </button>
      {/* biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes a dialog by itself */}
      <dialog
        ref={dialog}
        aria-labelledby="keys"
        className="card m-auto w-80 p-5 text-text"
        onClick={({ target }) => target === dialog.current && dialog.current?.close()}
      >
        <h2 id="keys" className="mb-3 font-semibold">
          Keys
        </h2>
        <dl className="grid grid-cols-[auto_1fr] gap-x-5 gap-y-2 text-sm">
          {SHORTCUTS.map(([key, does]) => (
            <div key={key} className="contents">
              <dt>
                <kbd>{key}</kbd>
              </dt>
              <dd>{does}</dd>
            </div>
          ))}
        </dl>
        <button type="button" className="button mt-4" onClick={() => dialog.current?.close()}>
          Close
        </button>
      </dialog>
    </>
  );
}
