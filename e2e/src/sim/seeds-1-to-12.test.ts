import { testSeeds } from './seeds-suite.js';

// Two files, so that they run side by side on two cores.
testSeeds(1, 12);
