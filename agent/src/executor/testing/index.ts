export * from './controller-contract.js';
export * from './fake-executor.js';
