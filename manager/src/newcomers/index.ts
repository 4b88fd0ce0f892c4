export { Newcomers } from './newcomers.js';
