export * from './dial.js';
export * from './first-frame.js';
export * from './frame-socket.js';
