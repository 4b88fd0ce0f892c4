import { expect, test } from 'vitest';
import { Mount } from '../model/index.js';
import { IMAGE_VOLUMES_MAX, withImageVolumes } from './image-volumes.js';

const own = Mount.fromPartial({ type: 'bind', source: '/src', target: '/data' });

test('what the image declares and nobody mounts over is a volume without a name, once', () => {
  const mounts = withImageVolumes([own], ['/data/', '/cache', '//var/../cache/.']);

  expect(mounts.map(({ type, source, target, origin }) => ({ type, source, target, origin }))).toEqual([
    { type: 'bind', source: '/src', target: '/data', origin: own.origin },
    { type: 'volume', source: '', target: '/cache', origin: 'image' },
  ]);
});

test.each([
  ['/', "destination can't be '/'"],
  ['/../..', "destination can't be '/'"],
  ['data', "invalid mount path: 'data' mount path must be absolute"],
  ['', 'mount path must be absolute'],
])('a volume at %j is refused', (path, message) => {
  expect(() => withImageVolumes([], [path])).toThrow(message);
});

test('so are more than a host should make for one container', () => {
  const paths = Array.from({ length: IMAGE_VOLUMES_MAX + 1 }, (_, number) => `/${number}`);

  expect(withImageVolumes([], paths.slice(1))).toHaveLength(IMAGE_VOLUMES_MAX);
  expect(() => withImageVolumes([], paths)).toThrow('declares 101 volumes; 100 is the most');
});
