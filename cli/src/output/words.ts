import type { NodeJson } from '@tessera/shared/docker-api';

const ID_LENGTH_SHORT = 12;

export const capitalized = (word: string): string => word.slice(0, 1).toUpperCase() + word.slice(1);

/** The first twelve characters of an id, without `sha256:`. */
export const shortId = (id: string): string => id.replace(/^sha256:/, '').slice(0, ID_LENGTH_SHORT);

/** The name people give a node, else its host's. */
export const nodeLabel = (node: NodeJson): string => node.Spec.Name || node.Description.Hostname || node.ID;

/** `busybox:latest` of `busybox:latest@sha256:…`. */
export const withoutDigest = (image: string): string => image.replace(/@sha256:[0-9a-f]+$/, '');

/** At most `length` characters, the last of them an ellipsis if any had to go. */
export const ellipsis = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length - 1)}…`;
