import type { Status } from './schema.ts';

/** Whether nothing can follow this status. */
export const isTerminal = (status: Status): boolean => status !== 'waiting' && status !== 'running';
