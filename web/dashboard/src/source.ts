import type { JobState, TestState } from 'runcast-client';

/** Where GitHub and GitLab run jobs, below their project. */
const RAN_AT = /^(https:\/\/[\w.-]+(?:\/[\w.-]+)+?)\/(-\/)?(?:actions\/runs|pipelines|jobs)\/\d/;

/** Where a test's file is to be read, as it was when it ran: where its run says where it ran, and of which commit. */
export function sourceOf({ url, labels }: JobState, { file, line }: TestState): string | undefined {
  const [, project, dash = ''] = RAN_AT.exec(url ?? '') ?? [];
  const commit = labels?.commit;
  if (!project || !file || !commit || !/^[0-9a-f]{7,64}$/i.test(commit)) return undefined;
  // A path of some machine is none of the repository.
  if (/^(?:\/|\w:|\.\.)|\\/.test(file)) return undefined;
  const path = file.split('/').map(encodeURIComponent).join('/');
  return `${project}/${dash}blob/${commit}/${path}${line === null ? '' : `#L${line}`}`;
}
