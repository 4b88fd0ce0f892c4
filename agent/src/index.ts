// The agent as one piece, for those that run it in a process of their own making.
export * from './node-agent.js';
