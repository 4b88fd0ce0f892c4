import type { Mount } from '@tessera/shared/model';
import type { KnownContainer } from '../../../controlapi/containers/index.js';
import { nodeOfVolume, stateOfVolume } from '../../../loops/volumes.js';
import type { View } from '../../../store/view.js';

/** A container's mounts as lists and inspect show them. A tmpfs of `--tmpfs` is in its HostConfig alone, as with Docker. */
export function mountPoints({ view, container }: KnownContainer): readonly object[] {
  return (container.spec?.mounts ?? [])
    .filter(({ origin }) => origin !== 'tmpfs_flag')
    .map((mount) => mountPoint(view, mount));
}

function mountPoint(view: View, mount: Mount): object {
  const { type, source, target, mode, readOnly, propagation } = mount;
  const common = { Destination: target, Mode: mode, RW: !readOnly };
  switch (type) {
    case 'volume':
      return {
        Type: type,
        Name: source,
        Source: volumePath(view, mount),
        Driver: 'local',
        ...common,
        // Docker's own mark on volumes that were named, and on no others.
        Mode: mode || (['binds', 'mounts'].includes(mount.origin) ? 'z' : ''),
        Propagation: '',
      };
    case 'bind':
      return { Type: type, Source: source, ...common, Propagation: propagation || 'rprivate' };
    default:
      return { Type: type, Source: '', ...common, Propagation: '' };
  }
}

function volumePath(view: View, { source, volumeMount }: Mount): string {
  const volume = view.volumes.get(volumeMount?.id ?? '');
  if (!volume) return '';
  return stateOfVolume(view, volume)?.mountpoint || mountpointOn(view, nodeOfVolume(view, volume), source);
}

/** Where a node will have a volume; empty where that is not known. */
export function mountpointOn(view: View, nodeId: string, name: string): string {
  const directory = view.nodeStatuses.get(nodeId)?.description?.volumesDir;
  return directory ? `${directory}/${name}/_data` : '';
}
