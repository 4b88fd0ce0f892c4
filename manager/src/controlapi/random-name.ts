import type { Random } from '@tessera/shared/env';

const QUALITIES = [
  'amber',
  'bold',
  'brisk',
  'calm',
  'clear',
  'deft',
  'eager',
  'early',
  'fair',
  'fleet',
  'gentle',
  'glad',
  'keen',
  'kind',
  'lucid',
  'mellow',
  'merry',
  'nimble',
  'patient',
  'proud',
  'quick',
  'quiet',
  'ready',
  'sharp',
  'steady',
  'still',
  'sunny',
  'swift',
  'tidy',
  'warm',
  'wise',
  'young',
];
const THINGS = [
  'anchor',
  'aspen',
  'beacon',
  'birch',
  'brook',
  'cedar',
  'comet',
  'coral',
  'delta',
  'ember',
  'falcon',
  'fjord',
  'harbor',
  'heron',
  'island',
  'juniper',
  'lantern',
  'linden',
  'maple',
  'meadow',
  'mosaic',
  'otter',
  'pebble',
  'quarry',
  'raven',
  'ridge',
  'river',
  'sparrow',
  'summit',
  'tern',
  'willow',
  'wren',
];

/** A name for a service whose user gave none: two words, and a number once the words are taken. */
export function proposeName(random: Random, isTaken: (name: string) => boolean): string {
  for (let attempt = 0; ; attempt++) {
    const words = `${pick(random, QUALITIES)}_${pick(random, THINGS)}`;
    const name = attempt < 8 ? words : `${words}${Math.floor(random.next() * 10 ** (attempt - 6))}`;
    if (!isTaken(name)) return name;
  }
}

const pick = (random: Random, words: readonly string[]): string =>
  words[Math.floor(random.next() * words.length)]!;
