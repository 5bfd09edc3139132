/** The colours of a terminal, which mean nothing here. */
const ESCAPES = new RegExp(`${String.fromCharCode(27)}\\[[0-9;?]*[A-Za-z]`, 'g');

export const plain = (text: string): string => text.replace(ESCAPES, '').trim();

/** What went wrong, as its tool said it; or only the first lines of it. */
export function ErrorText({ text, isCut = false }: { text: string; isCut?: boolean }) {
  return <pre className={`error ${isCut ? 'line-clamp-4' : ''}`}>{plain(text)}</pre>;
}
