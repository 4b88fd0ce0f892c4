import { ClusterError } from '@tessera/shared/errors';
import type { ContainerSpec } from '@tessera/shared/model';
import { isApiSocket } from '@tessera/shared/volumes';
import type { View } from '../store/view.js';

/** Whoever has the API's socket may do everything: the cluster's policy says who may be given it. */
export function assertApiSocket(view: View, spec: ContainerSpec | undefined): void {
  const mount = spec?.mounts.find(isApiSocket);
  if (!mount || view.cluster?.spec?.apiSocket !== 'nobody') return;
  throw new ClusterError(
    'permissionDenied',
    `Mounts: ${mount.source}: the cluster's policy gives its API to no container; "tsctl cluster update --api-socket managers" allows it on managers`,
  );
}
