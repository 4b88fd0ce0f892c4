export * from './log-broker.js';
export * from './service-log-broker.js';
