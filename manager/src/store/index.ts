export { specId } from './kinds.js';
export * from './kv/kv.js';
export { type KvFaults, MemoryKv } from './kv/memory-kv.js';
export * from './store.js';
export type * from './view.js';
export type { Fence } from './writer.js';
