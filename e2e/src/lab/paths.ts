import { fileURLToPath } from 'node:url';

/** Where the checkout is; the same from src and from dist. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** Labs live here, one directory each. Short, since a unix socket's path ends at 108 bytes. */
export const LABS_DIR = '/tmp';
export const LAB_PREFIX = 'tessera-lab-';

export const labDir = (name: string) => `${LABS_DIR}/${LAB_PREFIX}${name}`;
/** The one cgroup, in every hierarchy, that holds all of a lab's. */
export const labCgroup = (name: string) => `${LAB_PREFIX}${name}`;

export const TSD = `${ROOT}agent/dist/main.js`;
export const TSCTL = `${ROOT}cli/dist/main.js`;
