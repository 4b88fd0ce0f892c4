export * from './addresses.js';
export * from './capacity.js';
export * from './description.js';
export * from './instance-lock.js';
export * from './join-client.js';
export * from './manager-supervisor.js';
export * from './node-identity.js';
export * from './own-manager.js';
