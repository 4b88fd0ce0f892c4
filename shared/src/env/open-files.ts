import { readdirSync } from 'node:fs';

/** How many descriptors this process has open, without the one that looks. */
export const openFileCount = (): number => readdirSync('/proc/self/fd').length - 1;
