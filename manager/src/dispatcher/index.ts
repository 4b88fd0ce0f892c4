export * from './dispatcher.js';
export * from './manager-addrs.js';
export * from './transport.js';
