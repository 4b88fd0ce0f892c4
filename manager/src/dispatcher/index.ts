export * from './dispatcher.js';
export * from './image-locator.js';
export * from './manager-addrs.js';
export * from './node-monitor.js';
export * from './transport.js';
