import { randomBytes } from 'node:crypto';
import { ciOf, type Said, type Variables } from './ci.ts';
import { idOf } from './hash.ts';
import type { Shard } from './update.ts';

/** A run, as its producer knows it. */
export interface Identity {
  runId: string;
  jobId?: string | undefined;
  name?: string | undefined;
  url?: string | undefined;
  labels: Record<string, string>;
  /** The run that this one repeats. */
  rerunOf?: string | undefined;
  /** Which part of it this is. */
  shard?: Shard | undefined;
}

/**
 * The run that these variables say: `RUNCAST_RUN_ID`, else what the CI says, else a new one. The rules are those
 * of `runcast run`; `shard` is what the tool itself says of its part.
 */
export function identityOf(environment: Variables = process.env, shard?: Shard): Identity {
  const variables = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''));
  const said = ciOf(variables);
  const identity: Identity = said
    ? ofCi({ ...said, shard: shard ?? said.shard })
    : { runId: '', labels: {}, shard };
  if (variables.RUNCAST_RUN_ID) {
    // A name of one's own may be the same for the re-run: nobody knows which it repeats.
    identity.rerunOf = undefined;
    identity.runId = variables.RUNCAST_RUN_ID;
    identity.shard = shard ?? identity.shard;
  }
  identity.runId ||= `local-${randomBytes(8).toString('hex')}`;
  return identity;
}

/** A re-run is a run of its own, with `rerunOf`: what has ended stays as it was. */
function ofCi(said: Said): Identity {
  const attempt = said.attempt ?? 1;
  // What is run again of a run in parts is a run of its own: the others are not.
  const part = attempt > 1 ? said.shard : undefined;
  const runOf = (attempt: number) => {
    const numbers = attempt > 1 ? [attempt, ...(part ? [part.index] : [])] : [];
    return idOf([said.ci, ...said.run, ...numbers, ...(said.job === undefined ? [] : [said.job])].join('-'));
  };
  const name = said.name.join(' / ');
  const labels = { ci: said.ci, branch: said.branch, commit: said.commit, pr: said.pr };
  return {
    runId: runOf(attempt),
    rerunOf: attempt > 1 ? runOf(attempt - 1) : undefined,
    jobId: name ? idOf(name) : undefined,
    name: name || undefined,
    url: said.url,
    labels: Object.fromEntries(
      Object.entries(labels).filter((label): label is [string, string] => label[1] !== undefined),
    ),
    shard: part ? undefined : said.shard,
  };
}
