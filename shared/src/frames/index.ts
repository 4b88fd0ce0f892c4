export * from './frame-socket.js';
