import { testSeeds } from './seeds-suite.js';

testSeeds(13, 12);
