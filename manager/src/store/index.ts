export * from './election.js';
export { specId } from './kinds.js';
export * from './kv/kv.js';
export { type KvFaults, MemoryKv } from './kv/memory-kv.js';
export { LEADER_KEY } from './leader-key.js';
export * from './lease-keeper.js';
export * from './store.js';
export type * from './view.js';
export type { Fence } from './writer.js';
