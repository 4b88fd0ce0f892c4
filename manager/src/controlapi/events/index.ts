export type { ClusterEvent } from './cluster-event.js';
export * from './event-log.js';
export * from './journal.js';
