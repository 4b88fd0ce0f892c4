// The clock alone, for programs that must start fast: `env` also carries the logger and its library.
export * from '../env/clock.js';
