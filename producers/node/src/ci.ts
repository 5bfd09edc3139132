import type { Shard } from './update.ts';

/** The environment. */
export type Variables = Record<string, string | undefined>;

/** What a CI says of a run. */
export interface Said {
  ci: string;
  /** What is the same for all parts of one run, and for no other run. */
  run: string[];
  /** How often it was run, from 1. */
  attempt?: number | undefined;
  /** What follows the attempt in its id. */
  job?: string | undefined;
  name: string[];
  url?: string | undefined;
  branch?: string | undefined;
  commit?: string | undefined;
  pr?: string | undefined;
  shard?: Shard | undefined;
}

/** What the CI says that this runs in. */
export function ciOf(variables: Variables): Said | undefined {
  if (variables.GITHUB_RUN_ID) return github(variables);
  if (variables.GITLAB_CI && variables.CI_PIPELINE_ID) return gitlab(variables);
  if (variables.JENKINS_URL && variables.BUILD_NUMBER) return jenkins(variables);
  if (variables.CIRCLECI && variables.CIRCLE_WORKFLOW_ID) return circleci(variables);
  if (variables.BUILDKITE && variables.BUILDKITE_BUILD_ID) return buildkite(variables);
  if (variables.TF_BUILD && variables.BUILD_BUILDID) return azure(variables);
  return undefined;
}

/** https://docs.github.com/en/actions/reference/workflows-and-actions/variables */
function github(of: Variables): Said {
  const attempt = numberOf(of.GITHUB_RUN_ATTEMPT);
  const run = all(of.GITHUB_SERVER_URL, of.GITHUB_REPOSITORY, of.GITHUB_RUN_ID);
  const [server, repository, id] = run;
  return {
    ci: 'github',
    run: all(of.GITHUB_RUN_ID),
    attempt,
    job: of.GITHUB_JOB,
    name: all(of.GITHUB_WORKFLOW, of.GITHUB_JOB),
    url: run.length === 3 ? `${server}/${repository}/actions/runs/${id}/attempts/${attempt ?? 1}` : undefined,
    branch: of.GITHUB_HEAD_REF ?? of.GITHUB_REF_NAME,
    commit: of.GITHUB_SHA,
    pr: /^refs\/pull\/([^/]*)/.exec(of.GITHUB_REF ?? '')?.[1],
  };
}

/**
 * https://docs.gitlab.com/ci/variables/predefined_variables/: a job that is retried has a new `CI_JOB_ID`; the
 * parts of a parallel one have nothing in common but the pipeline, and its name without " 1/3".
 */
function gitlab(of: Variables): Said {
  const shard = partOf(of.CI_NODE_INDEX, 1, of.CI_NODE_TOTAL);
  let job = of.CI_JOB_NAME ?? '';
  const end = shard && ` ${shard.index}/${shard.total}`;
  while (end && job.endsWith(end)) job = job.slice(0, -end.length);
  return {
    ci: 'gitlab',
    run: shard ? [...all(of.CI_PIPELINE_ID), job] : all(of.CI_PIPELINE_ID, of.CI_JOB_ID),
    name: [...all(of.CI_PROJECT_PATH), job],
    url: of.CI_JOB_URL ?? of.CI_PIPELINE_URL,
    branch: of.CI_MERGE_REQUEST_SOURCE_BRANCH_NAME ?? of.CI_COMMIT_REF_NAME,
    commit: of.CI_COMMIT_SHA,
    pr: of.CI_MERGE_REQUEST_IID,
    shard,
  };
}

/** https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables */
function jenkins(of: Variables): Said {
  return {
    ci: 'jenkins',
    run: all(of.JOB_NAME, of.BUILD_NUMBER),
    name: all(of.JOB_NAME),
    url: of.BUILD_URL,
    branch: of.CHANGE_BRANCH ?? of.GIT_BRANCH,
    commit: of.GIT_COMMIT,
    pr: of.CHANGE_ID,
  };
}

/** https://circleci.com/docs/reference/variables/: a re-run is a new workflow. */
function circleci(of: Variables): Said {
  return {
    ci: 'circleci',
    run: all(of.CIRCLE_WORKFLOW_ID, of.CIRCLE_JOB),
    name: all(of.CIRCLE_PROJECT_REPONAME, of.CIRCLE_JOB),
    url: of.CIRCLE_BUILD_URL,
    branch: of.CIRCLE_BRANCH,
    commit: of.CIRCLE_SHA1,
    pr: of.CIRCLE_PULL_REQUEST?.split('/').at(-1),
    shard: partOf(of.CIRCLE_NODE_INDEX, 0, of.CIRCLE_NODE_TOTAL),
  };
}

/** https://buildkite.com/docs/pipelines/configure/environment-variables */
function buildkite(of: Variables): Said {
  const retries = numberOf(of.BUILDKITE_RETRY_COUNT);
  return {
    ci: 'buildkite',
    run: all(of.BUILDKITE_BUILD_ID, of.BUILDKITE_STEP_ID),
    attempt: retries === undefined ? undefined : retries + 1,
    name: all(of.BUILDKITE_PIPELINE_NAME, of.BUILDKITE_LABEL),
    url: of.BUILDKITE_BUILD_URL,
    branch: of.BUILDKITE_BRANCH,
    commit: of.BUILDKITE_COMMIT,
    pr: of.BUILDKITE_PULL_REQUEST === 'false' ? undefined : of.BUILDKITE_PULL_REQUEST,
    shard: partOf(of.BUILDKITE_PARALLEL_JOB, 0, of.BUILDKITE_PARALLEL_JOB_COUNT),
  };
}

/** https://learn.microsoft.com/azure/devops/pipelines/build/variables */
function azure(of: Variables): Said {
  const address = all(of.SYSTEM_COLLECTIONURI, of.SYSTEM_TEAMPROJECT, of.BUILD_BUILDID);
  const [collection, project, build] = address;
  return {
    ci: 'azure',
    run: all(of.BUILD_BUILDID),
    attempt: numberOf(of.SYSTEM_JOBATTEMPT),
    job: of.SYSTEM_PHASENAME ?? of.SYSTEM_JOBNAME,
    name: all(of.BUILD_DEFINITIONNAME, of.SYSTEM_PHASENAME),
    url:
      address.length === 3
        ? `${collection}${project?.replaceAll(' ', '%20')}/_build/results?buildId=${build}`
        : undefined,
    branch: of.SYSTEM_PULLREQUEST_SOURCEBRANCH ?? of.BUILD_SOURCEBRANCHNAME,
    commit: of.BUILD_SOURCEVERSION,
    pr: of.SYSTEM_PULLREQUEST_PULLREQUESTNUMBER ?? of.SYSTEM_PULLREQUEST_PULLREQUESTID,
    shard: partOf(of.SYSTEM_JOBPOSITIONINPHASE, 1, of.SYSTEM_TOTALJOBSINPHASE),
  };
}

/** Those that are there. */
function all(...values: (string | undefined)[]): string[] {
  return values.filter((value) => value !== undefined);
}

function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

/** Which part of how many this is, where parts are counted from `first`. */
function partOf(index: string | undefined, first: number, total: string | undefined): Shard | undefined {
  const [at, of] = [numberOf(index), numberOf(total)];
  if (at === undefined || of === undefined || of < 2) return undefined;
  const part = at - first + 1;
  return part >= 1 && part <= of ? { index: part, total: of } : undefined;
}
