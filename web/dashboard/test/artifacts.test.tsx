import { cleanup, render, screen } from '@testing-library/react';
import { createClient, type TestState } from 'runcast-client';
import { type ScriptedStream, scriptedStream, testState } from 'runcast-client/testing';
import { afterEach, expect, it, onTestFinished, vi } from 'vitest';
import { Artifacts, hrefOf } from '../src/artifacts.tsx';
import { type Session, SessionProvider } from '../src/session.ts';
import { useArtifactUrl } from '../src/signed.ts';

afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

function Left({ test }: { test: TestState }) {
  const url = useArtifactUrl(test);
  return <Artifacts paths={[test.s3Url ?? '']} signed={{ [test.s3Url ?? '']: url }} />;
}

function show(stream: ScriptedStream, test: TestState) {
  const client = createClient({ fetch: stream.fetch });
  onTestFinished(() => client.close());
  const session = { client, settings: {} } as unknown as Session;
  const tree = (its: TestState) => (
    <SessionProvider value={session}>
      <Left test={its} />
    </SessionProvider>
  );
  const { rerender } = render(tree(test));
  return (its: TestState) => rerender(tree(its));
}

it('leads to the web, and nowhere else', () => {
  const base = 'https://ci.example.com/1/';
  expect(hrefOf('trace.zip', base)).toBe('https://ci.example.com/1/trace.zip');
  expect(hrefOf('http://other.example/a.png', base)).toBe('http://other.example/a.png');
  for (const path of [
    's3://bucket/a.png',
    'javascript:alert(1)',
    '//other.example/a',
    '\\\\server\\a',
    ' ',
    '',
  ])
    expect(hrefOf(path, base), path).toBeUndefined();
});

it('shows an image that lies in S3, and links what is none, by signed addresses', async () => {
  const stream = scriptedStream();
  const test = { testId: 't', s3Url: 's3://bucket/t/shot.png' };
  const showNext = show(stream, stream.test(test));
  const image = await screen.findByRole<HTMLImageElement>('img');
  expect(image.src).toMatch(/^https:\/\/scripted\.example\/bucket\/t\/shot\.png\?/);
  showNext(stream.test({ ...test, s3Url: 's3://bucket/t/trace.zip' }));
  const link = await screen.findByRole<HTMLAnchorElement>('link', { name: 'trace.zip' });
  expect(link.href).toMatch(/^https:\/\/scripted\.example\/bucket\/t\/trace\.zip\?/);
  expect(screen.queryByRole('img')).toBeNull();
});

it('is text where the server signs nothing, and asks no more', async () => {
  vi.spyOn(console, 'warn').mockImplementation(() => {});
  vi.useFakeTimers({ shouldAdvanceTime: true });
  const stream = scriptedStream();
  stream.answer(404, 'No bucket is configured.');
  show(stream, testState({ testId: 't', s3Url: 's3://bucket/t/shot.png' }));
  await vi.waitFor(() => expect(stream.reads).toHaveLength(1));
  await vi.advanceTimersByTimeAsync(60_000);
  expect(stream.reads).toHaveLength(1);
  expect(screen.getByText('s3://bucket/t/shot.png').tagName).toBe('CODE');
});

it('asks again where the server was away, and before an address is of no use any more', async () => {
  vi.spyOn(console, 'warn').mockImplementation(() => {});
  vi.useFakeTimers({ shouldAdvanceTime: true });
  const stream = scriptedStream();
  stream.answer(503);
  show(stream, stream.test({ testId: 't', s3Url: 's3://bucket/t/trace.zip' }));
  const href = () => screen.queryByRole<HTMLAnchorElement>('link', { name: 'trace.zip' })?.href;
  await vi.waitFor(() => expect(stream.reads).toHaveLength(1));
  await vi.advanceTimersByTimeAsync(11_000);
  await vi.waitFor(() => expect(href()).toBeDefined());
  const first = href();
  const hidden = vi.spyOn(document, 'hidden', 'get').mockReturnValue(true);
  await vi.advanceTimersByTimeAsync(300_000);
  expect(href()).toBe(first);
  hidden.mockReturnValue(false);
  document.dispatchEvent(new Event('visibilitychange'));
  await vi.waitFor(() => expect(href()).not.toBe(first));
  expect(stream.reads).toHaveLength(3);
});

it('asks for nothing where it is on the web', async () => {
  const stream = scriptedStream();
  show(stream, stream.test({ testId: 't', s3Url: 'https://bucket.example/t/trace.zip' }));
  await screen.findByRole('link', { name: 'trace.zip' });
  expect(stream.reads).toHaveLength(0);
});
