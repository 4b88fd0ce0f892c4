export * from './first-frame.js';
export * from './frame-socket.js';
