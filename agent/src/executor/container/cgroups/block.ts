import { existsSync } from 'node:fs';
import type { SpecRecord } from '@tessera/native';
import { invalid } from '@tessera/shared/errors';
import type { BlockLimit, GroupLimits } from './driver.js';
import { file, fileOfLines } from './values.js';

// Weights and bounds of block devices. Sources: Documentation/admin-guide/cgroup-v1/blkio-controller.rst,
// Documentation/block/bfq-iosched.rst, Documentation/admin-guide/cgroup-v2.rst.

const device = ({ major, minor }: BlockLimit): string => `${major}:${minor}`;

/** Which of these files this kernel has. @throws ClusterError when it has none: weights need a scheduler that keeps them */
function weightFile(dir: string, names: readonly string[]): string {
  const name = names.find((each) => existsSync(`${dir}/${each}`));
  if (name === undefined)
    throw invalid('HostConfig.BlkioWeight: no I/O scheduler of this node keeps weights: leave it out');
  return name;
}

const of = (limits: readonly BlockLimit[], kind: BlockLimit['kind']) =>
  limits.filter((limit) => limit.kind === kind);

/** @param dir any group of the hierarchy but its root */
export function blockFilesV1({ blkioWeight, block = [] }: GroupLimits, dir: string): SpecRecord[] {
  const weights = of(block, 'weight');
  const records: SpecRecord[] = [];
  if (blkioWeight) records.push(file(weightFile(dir, ['blkio.weight', 'blkio.bfq.weight']), blkioWeight));
  if (weights.length > 0) {
    const name = weightFile(dir, ['blkio.weight_device', 'blkio.bfq.weight_device']);
    records.push(
      fileOfLines(
        name,
        weights.map((limit) => `${device(limit)} ${limit.rate}`),
      ),
    );
  }
  for (const kind of ['read_bps', 'write_bps', 'read_iops', 'write_iops'] as const) {
    const lines = of(block, kind).map((limit) => `${device(limit)} ${limit.rate}`);
    if (lines.length > 0) records.push(fileOfLines(`blkio.throttle.${kind}_device`, lines));
  }
  return records;
}

const V2_KEYS = { read_bps: 'rbps', write_bps: 'wbps', read_iops: 'riops', write_iops: 'wiops' } as const;

export function blockFilesV2({ blkioWeight, block = [] }: GroupLimits, dir: string): SpecRecord[] {
  const weights = of(block, 'weight');
  const records: SpecRecord[] = [];
  if (blkioWeight || weights.length > 0) {
    const name = weightFile(dir, ['io.bfq.weight', 'io.weight']);
    // bfq takes v1's numbers; io.weight has 1 to 10000. Source: runc, ConvertBlkIOToIOWeightValue.
    const value = (weight: number) =>
      name === 'io.weight' ? 1 + Math.floor(((weight - 10) * 9_999) / 990) : weight;
    const lines = weights.map((limit) => `${device(limit)} ${value(limit.rate)}`);
    records.push(fileOfLines(name, [...(blkioWeight ? [`default ${value(blkioWeight)}`] : []), ...lines]));
  }
  const bounds = block.flatMap((limit) =>
    limit.kind === 'weight' ? [] : [`${device(limit)} ${V2_KEYS[limit.kind]}=${limit.rate}`],
  );
  if (bounds.length > 0) records.push(fileOfLines('io.max', bounds));
  return records;
}
