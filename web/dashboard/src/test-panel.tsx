import { ChevronLeft, ChevronRight, Copy, X } from 'lucide-react';
import { type ReactNode, useEffect, useMemo, useRef, useState } from 'react';
import type { RunSnapshot, TestState } from 'runcast-client';
import { Ago } from './ago.tsx';
import { failuresOf } from './arrange.ts';
import { Artifacts } from './artifacts.tsx';
import { Duration } from './duration.tsx';
import { ErrorText, plain } from './error-text.tsx';
import { useKey } from './keys.ts';
import { Attempts, Labels, Marks, RanAt } from './life.tsx';
import { hrefOfTest } from './route.ts';
import { useArtifactUrl } from './signed.ts';
import { sourceOf } from './source.ts';
import { placeOf, titleOf } from './standing.ts';
import { StatusPill } from './status.tsx';

interface TestPanelProps {
  testId: string;
  snapshot: RunSnapshot;
  query: URLSearchParams;
}

/** One test: beside the list where there is room, over it where there is none. */
export function TestPanel({ testId, snapshot, query }: TestPanelProps) {
  const { run, tests, isLoading } = snapshot;
  const test = tests.get(testId);
  const heading = useRef<HTMLHeadingElement>(null);
  const close = () => {
    location.hash = hrefOfTest(run.runId, undefined, query);
    requestAnimationFrame(() =>
      document.querySelector<HTMLElement>(`[data-test="${testId}"] a`)?.focus({ preventScroll: true }),
    );
  };
  useKey({ Escape: close });
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  return (
    <aside aria-labelledby="test" className="test-panel">
      <div className="flex items-start gap-2">
        <h2
          id="test"
          ref={heading}
          tabIndex={-1}
          className="min-w-0 flex-1 text-lg leading-snug font-semibold break-words outline-none"
        >
          {test ? titleOf(test) : testId}
        </h2>
        <button
          type="button"
          className="icon-button"
          aria-label="Close"
          title="Close (Escape)"
          onClick={close}
        >
          <X size={16} aria-hidden />
        </button>
      </div>
      {test ? (
        <>
          <Facts test={test} source={sourceOf(run, test)} />
          <OtherFailures test={test} snapshot={snapshot} query={query} />
        </>
      ) : (
        <p className="mt-3 text-sm text-quiet">
          {isLoading ? 'Loading …' : 'This run has no such test, or not yet.'}
        </p>
      )}
    </aside>
  );
}

function Facts({ test, source }: { test: TestState; source: string | undefined }) {
  const at = placeOf(test);
  const facts: [string, ReactNode][] = [
    ['Took', <Duration key="duration" state={test} />],
    ['Started', test.startedAt && <Ago at={test.startedAt} />],
    ['Suite', test.suite],
    ['File', at && <CopyableText text={at} href={source} />],
    ['Test', test.name && <CopyableText text={test.testId} />],
    ['Ran at', test.url && <RanAt url={test.url} />],
  ];
  const left = [test.reportPath, test.s3Url].filter((path) => path !== null);
  const artifactUrl = useArtifactUrl(test);
  return (
    <div className="mt-3 grid min-w-0 gap-4">
      <div className="flex flex-wrap items-center gap-1.5 text-xs">
        <StatusPill status={test.status} />
        <Marks state={test} withLabels={false} />
        <Labels state={test} />
      </div>
      <dl className="grid grid-cols-[auto_minmax(0,1fr)] gap-x-4 gap-y-1.5 text-[13px]">
        {facts.map(
          ([name, value]) =>
            value && (
              <div key={name} className="contents">
                <dt className="text-quiet">{name}</dt>
                <dd className="min-w-0 break-words">{value}</dd>
              </div>
            ),
        )}
      </dl>
      {test.error && (
        <div className="grid gap-1.5">
          <h3 className="flex items-center justify-between text-[13px] font-semibold">
            Error <CopyButton text={plain(test.error)} what="the error" />
          </h3>
          <ErrorText text={test.error} />
        </div>
      )}
      <Attempts state={test} isOpen />
      {left.length > 0 && (
        <div className="grid gap-1.5">
          <h3 className="text-[13px] font-semibold">Report and artifacts</h3>
          <Artifacts paths={left} signed={{ [test.s3Url ?? '']: artifactUrl }} />
        </div>
      )}
    </div>
  );
}

/** The failures before and after, for who goes through them one by one. */
function OtherFailures({
  test,
  snapshot: { run, tests },
  query,
}: Omit<TestPanelProps, 'testId'> & { test: TestState }) {
  const failures = useMemo(() => failuresOf(tests.values()), [tests]);
  const index = failures.findIndex(({ testId }) => testId === test.testId);
  const [before, after] = index < 0 ? [] : [failures[index - 1], failures[index + 1]];
  const go = (to: TestState | undefined) => () => {
    if (to) location.hash = hrefOfTest(run.runId, to.testId, query);
  };
  useKey({ ArrowLeft: go(before), ArrowRight: go(after) });
  if (!before && !after) return null;
  return (
    <nav
      aria-label="Failures"
      className="mt-5 flex items-center justify-between gap-2 border-t border-line pt-3 text-[13px]"
    >
      <Neighbour to={before} runId={run.runId} query={query}>
        <ChevronLeft size={14} aria-hidden /> Before
      </Neighbour>
      <span className="text-quiet">
        {index + 1} of {failures.length} failures
      </span>
      <Neighbour to={after} runId={run.runId} query={query}>
        Next <ChevronRight size={14} aria-hidden />
      </Neighbour>
    </nav>
  );
}

function Neighbour(props: {
  to: TestState | undefined;
  runId: string;
  query: URLSearchParams;
  children: ReactNode;
}) {
  if (!props.to) return <span className="w-16" />;
  return (
    <a
      href={hrefOfTest(props.runId, props.to.testId, props.query)}
      className="button"
      title={titleOf(props.to)}
    >
      {props.children}
    </a>
  );
}

function CopyableText({ text, href }: { text: string; href?: string | undefined }) {
  return (
    <span className="inline-flex max-w-full items-center gap-1">
      {href ? (
        <a href={href} target="_blank" rel="noopener noreferrer" className="link" title={href}>
          <code className="min-w-0 break-all">{text}</code>
        </a>
      ) : (
        <code className="min-w-0 break-all">{text}</code>
      )}
      <CopyButton text={text} what={text} />
    </span>
  );
}

function CopyButton({ text, what }: { text: string; what: string }) {
  const [isCopied, setCopied] = useState(false);
  return (
    <button
      type="button"
      className="icon-button shrink-0"
      aria-label={`Copy ${what}`}
      title={isCopied ? 'Copied' : 'Copy'}
      onClick={() => void navigator.clipboard.writeText(text).then(() => setCopied(true))}
    >
      <Copy size={13} aria-hidden />
    </button>
  );
}
