export * from './container-network.js';
export { KernelThread } from './kernel-thread.js';
export * from './network-manager.js';
export * from './network-plane.js';
