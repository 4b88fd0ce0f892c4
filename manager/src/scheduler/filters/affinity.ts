import { familiarName } from '@tessera/shared/image-reference';
import type { View } from '../../store/view.js';
import type { NodeEntry, NodeSet } from '../node-set.js';
import type { FilterContext } from './filter.js';

const ID_LENGTH_SHORT = 12;

/**
 * What is on a node, as an affinity asks for it: `container` by names and ids, `image` by names and ids, anything else a
 * label of its containers. A container without that label has it empty.
 *
 * Source: docker/swarm scheduler/filter/affinity.go
 */
export function neighbourhood(
  key: string,
  entry: NodeEntry,
  { nodes, view }: FilterContext,
): Iterable<string> {
  switch (key.toLowerCase()) {
    case 'container':
      return containersOn(entry, nodes, view).flatMap(({ id, name }) => [
        id,
        id.slice(0, ID_LENGTH_SHORT),
        name,
      ]);
    case 'image':
      return imagesOn(entry, view);
    default:
      return containersOn(entry, nodes, view).map(({ spec }) => spec?.labels[key] ?? '');
  }
}

const containersOn = (entry: NodeEntry, nodes: NodeSet, view: View) =>
  nodes.containersOn(entry).flatMap((id) => {
    const container = view.containers.get(id);
    return container && !container.removing ? [container] : [];
  });

/** Every name that an image can be called by there: in full and familiar, with its tag and without. */
function* imagesOn({ status }: NodeEntry, view: View): Iterable<string> {
  for (const digest of status?.imageDigests ?? []) {
    yield digest;
    const image = view.images.get(digest);
    if (!image) continue;
    yield* [image.configDigest, image.configDigest.replace(/^sha256:/, '')];
    for (const name of image.names)
      for (const full of [name, familiarName(name)]) yield* [full, full.replace(/:[^:/]*$/, '')];
  }
}
