import { familiarName } from '@tessera/shared/image-reference';
import type { Expression } from '../../constraints/index.js';
import type { View } from '../../store/view.js';
import type { NodeEntry, NodeSet } from '../node-set.js';
import type { FilterContext } from './filter.js';

const ID_LENGTH_SHORT = 12;
/** A slash that is not the first one of a regular expression. */
const NAMES_NODE = /^[^/]+\//;

/**
 * What is on a node, as an affinity asks for it: `container` by names and ids, `image` by names and ids, anything else a
 * label of its containers. A container without that label has it empty. One that is named as `NODE/NAME` is looked for so.
 *
 * Source: docker/swarm scheduler/filter/affinity.go
 */
export function neighbourhood(
  { key, value }: Expression,
  entry: NodeEntry,
  { nodes, view }: FilterContext,
): Iterable<string> {
  switch (key.toLowerCase()) {
    case 'container':
      return containersOn(entry, nodes, view).flatMap(({ id, name }) => {
        const names = [id, id.slice(0, ID_LENGTH_SHORT), name];
        if (!NAMES_NODE.test(value)) return names;
        return nodeNames(entry).flatMap((node) => names.map((known) => `${node}/${known}`));
      });
    case 'image':
      return imagesOn(entry, view);
    default:
      return containersOn(entry, nodes, view).map(({ spec }) => spec?.labels[key] ?? '');
  }
}

const nodeNames = ({ node, status }: NodeEntry) => [node.id, status?.description?.hostname ?? ''];

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
