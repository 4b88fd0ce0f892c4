export * from './ca-service.js';
export * from './dispatcher-service.js';
export * from './local-stream-server.js';
export * from './manager-peers.js';
export * from './rpc-server.js';
export * from './stream-service.js';
export * from './tls-identity.js';
