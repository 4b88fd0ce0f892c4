import { ROOT } from './kinds.js';

/** The key whose maker leads. */
export const LEADER_KEY = `${ROOT}leader`;

/** What lies under it. */
export interface Candidacy {
  readonly managerId: string;
  /** Tells this candidacy from any other, also of the same manager. */
  readonly term: string;
}

/** Who leads, by the value of the key. */
export function parseLeader(value: Uint8Array): Candidacy | undefined {
  try {
    return JSON.parse(Buffer.from(value).toString()) as Candidacy;
  } catch {
    return undefined;
  }
}
