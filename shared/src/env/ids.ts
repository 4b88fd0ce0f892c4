import type { Random } from './random.js';

const ID_LENGTH = 25;

/**
 * A new object id: 25 characters of [0-9a-z], 125 bits and more of chance.
 *
 * Source: the form of Swarm's ids, so that clients which check it are content.
 */
export function newId(random: Random): string {
  const number = BigInt(`0x${random.bytes(17).toString('hex')}`);
  return number.toString(36).padStart(ID_LENGTH, '0').slice(-ID_LENGTH);
}

/** A new network or container id as Docker has them: 64 hexadecimal digits. */
export const newHexId = (random: Random): string => random.bytes(32).toString('hex');
