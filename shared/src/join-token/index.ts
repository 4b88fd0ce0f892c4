export * from './join-token.js';
