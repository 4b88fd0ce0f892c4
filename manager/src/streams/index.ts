export * from './exchange.js';
export * from './lendable.js';
export * from './open-side-stream.js';
export * from './side-stream.js';
export * from './stream-broker.js';
