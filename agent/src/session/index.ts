export * from './manager-channel.js';
export * from './session.js';
export * from './session-loop.js';
export * from './status-outbox.js';
