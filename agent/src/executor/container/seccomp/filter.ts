/** Placeholder until the profile is in: no filter. */
export const defaultFilter = (_capabilities: ReadonlySet<string>): Uint8Array | undefined => undefined;
