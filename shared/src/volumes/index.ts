export * from './api-socket.js';
export * from './image-volumes.js';
export * from './local-options.js';
export * from './volume-name.js';
