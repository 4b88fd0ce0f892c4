import type { StringMap } from './types.js';

export interface VolumeJson {
  readonly CreatedAt: string;
  readonly Driver: string;
  readonly Labels: StringMap | null;
  readonly Mountpoint: string;
  /** With `NODE/` before it where several nodes have one of that name for themselves. */
  readonly Name: string;
  readonly Options: StringMap | null;
  readonly Scope: 'local';
  /** Where it is; absent until a container has used it. */
  readonly Status?: { readonly Node: string };
  /** In `/system/df` alone. */
  readonly UsageData?: { readonly Size: number; readonly RefCount: number };
}
export interface VolumeListJson {
  readonly Volumes: readonly VolumeJson[] | null;
  readonly Warnings: readonly string[] | null;
}
export interface VolumePruneJson {
  readonly VolumesDeleted: readonly string[] | null;
  readonly SpaceReclaimed: number;
}
