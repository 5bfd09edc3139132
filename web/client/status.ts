import type { Status } from './schema.ts';

/**
 * Whether an execution has ended, as far as is known: a later attempt may open it again. A status that this version does
 * not know counts as an end, too: there are only two that do not.
 */
export const isTerminal = (status: Status): boolean => status !== 'waiting' && status !== 'running';
