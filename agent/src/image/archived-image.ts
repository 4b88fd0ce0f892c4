/** An image as an archive's metadata names it; nothing of it has been looked at yet. */
export interface ArchivedImage {
  /** Normalised. */
  readonly names: readonly string[];
  /** File names in the archive, with the digest their content must have where that is known. */
  readonly config: ArchivedBlob;
  /** Bottom first. */
  readonly layers: readonly ArchivedBlob[];
  /** The manifest that came with it. */
  readonly manifest?: Buffer;
}

export interface ArchivedBlob {
  readonly file: string;
  readonly digest?: string;
  readonly size?: number;
}
