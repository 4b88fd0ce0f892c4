import type { Meta } from '@tessera/shared/model';
import { timeJson } from './json-edge.js';

/** The head that every swarm object has in Docker's JSON. */
export const objectJson = (object: { readonly id: string; readonly meta: Meta | undefined }) => ({
  ID: object.id,
  Version: { Index: object.meta?.index ?? 0 },
  CreatedAt: timeJson(object.meta?.createdAtMs ?? 0),
  UpdatedAt: timeJson(object.meta?.updatedAtMs ?? 0),
});
