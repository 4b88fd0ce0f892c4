import { testSeeds } from './seeds-suite.js';

testSeeds(26, 25);
