export * from './constraint.js';
export * from './expression.js';
export * from './node-facts.js';
