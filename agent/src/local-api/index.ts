export * from './cluster-spec.js';
export * from './http-server.js';
export * from './local-socket.js';
export * from './node-api.js';
