import type { Case } from './case.js';
import { errors } from './cases/errors.js';
import { life } from './cases/life.js';

/** Every case, by subject. */
export const SUBJECTS: Readonly<Record<string, readonly Case[]>> = {
  'life of a container': life,
  errors,
};

export const TABLE: readonly Case[] = Object.values(SUBJECTS).flat();
