export * from './cgroups/index.js';
export * from './container-executor.js';
