import type { CgroupDriver } from './driver.js';
import { readLayout } from './hierarchies.js';
import { CgroupV1 } from './v1.js';
import { CgroupV2 } from './v2.js';

export * from './driver.js';
export * from './hierarchies.js';

/** The driver for this host's layout. @param parent `/tessera`, below every mount point */
export async function openCgroups(parent: string): Promise<CgroupDriver> {
  const layout = await readLayout();
  const unified = layout.hierarchies.find(({ version }) => version === 2);
  return layout.mode === 'v2' && unified
    ? new CgroupV2(unified.mountPoint, parent)
    : new CgroupV1(layout, parent);
}
