import { join } from 'node:path';

/** Where volumes lie below the data directory. */
export const volumesDirectory = (dataDir: string): string => join(dataDir, 'volumes');
