import type { Case } from './case.js';
import { errors } from './cases/errors.js';
import { fields } from './cases/fields.js';
import { files } from './cases/files.js';
import { images } from './cases/images.js';
import { life } from './cases/life.js';
import { lists } from './cases/lists.js';
import { mistakes } from './cases/mistakes.js';
import { networks } from './cases/networks.js';
import { streams } from './cases/streams.js';
import { system } from './cases/system.js';
import { volumes } from './cases/volumes.js';

/** Every case, by subject. */
export const SUBJECTS: Readonly<Record<string, readonly Case[]>> = {
  'life of a container': life,
  'fields of a create body': fields,
  lists,
  streams,
  files,
  volumes,
  networks,
  images,
  system,
  errors,
  'mistakes of users': mistakes,
};

export const TABLE: readonly Case[] = Object.values(SUBJECTS).flat();
