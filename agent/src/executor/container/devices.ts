import { readdirSync, realpathSync, type Stats, statSync } from 'node:fs';
import type { SpecRecord } from '@tessera/native';
import { errorText, invalid } from '@tessera/shared/errors';
import type { BlkioLimit, DeviceMapping } from '@tessera/shared/model';
import type { BlockLimit, DeviceRule } from './cgroups/index.js';

// Devices of the host in a container. Sources: moby, oci/devices_linux.go; runc, libcontainer/devices/device_unix.go.

const S_IFMT = 0o170000;
const S_IFBLK = 0o060000;
const S_IFCHR = 0o020000;

/** What of the host's /dev is each container's own, or no device that means something elsewhere. */
const OWN = new Set(['pts', 'shm', 'fd', 'mqueue', '.lxc', '.lxd-mounts', '.udev', 'console', 'ptmx']);
/** Deep enough for every device tree, and an end for one that has none. */
const DEPTH_MAX = 16;

export interface Device {
  readonly rule: DeviceRule;
  readonly record: SpecRecord;
}

/** Numbers of a device as stat(2) gives them; see makedev(3). */
const majorOf = (rdev: number): number => ((rdev >>> 8) & 0xfff) | (Math.floor(rdev / 2 ** 32) & ~0xfff);
const minorOf = (rdev: number): number => (rdev & 0xff) | ((rdev >>> 12) & ~0xff);

function deviceAt(
  { mode, rdev, uid, gid }: Stats,
  pathInContainer: string,
  access: string,
): Device | undefined {
  const kind = mode & S_IFMT;
  if (kind !== S_IFCHR && kind !== S_IFBLK) return undefined;
  const [major, minor] = [majorOf(rdev), minorOf(rdev)];
  return {
    rule: { type: kind === S_IFCHR ? 'c' : 'b', major, minor, access },
    record: {
      name: 'DEVICE',
      numbers: [mode & 0o177777, major, minor, uid, gid],
      strings: [pathInContainer.replace(/^\/+/, '')],
    },
  };
}

const gathering = (path: string, why: string) =>
  invalid(`error gathering device information while adding custom device "${path}": ${why}`);

/** One device, or all in a directory. @throws ClusterError in Docker's words */
export function mappedDevices({ pathOnHost, pathInContainer, permissions }: DeviceMapping): Device[] {
  const access = permissions || 'rwm';
  if (!/^[rwm]+$/.test(access))
    throw invalid(`HostConfig.Devices: permissions "${access}": use letters of rwm`);
  const target = pathInContainer || pathOnHost;
  const found = lookUp(pathOnHost);
  if (found.isDirectory()) {
    const devices = devicesBelow(realpathSync(pathOnHost), target, access, new Set());
    if (devices.length === 0) throw gathering(pathOnHost, 'no devices found');
    return devices;
  }
  const device = deviceAt(found, target, access);
  if (!device) throw gathering(pathOnHost, 'not a device node');
  return [device];
}

function lookUp(path: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw gathering(path, isMissing ? 'no such file or directory' : errorText(error));
  }
}

/** Every device node of the host, for privileged containers. */
export const hostDevices = (): Device[] => devicesBelow('/dev', '/dev', 'rwm', OWN);

/** Links are left out, as are nodes that go away meanwhile. */
function devicesBelow(
  dir: string,
  target: string,
  access: string,
  except: ReadonlySet<string>,
  depth = 0,
): Device[] {
  if (depth > DEPTH_MAX) return [];
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry): Device[] => {
    const [path, inside] = [`${dir}/${entry.name}`, `${target}/${entry.name}`];
    if (except.has(entry.name)) return [];
    try {
      if (entry.isDirectory()) return devicesBelow(path, inside, access, except, depth + 1);
      if (!entry.isCharacterDevice() && !entry.isBlockDevice()) return [];
      return [deviceAt(statSync(path), inside, access)].flatMap((device) => device ?? []);
    } catch {
      return [];
    }
  });
}

/**
 * "c 1:3 rwm", with * for any number. Source: Docker, --device-cgroup-rule. What is said of both types is two rules:
 * to cgroup v1 "a" means everything, whatever numbers stand beside it.
 */
export function deviceRules(text: string): DeviceRule[] {
  const match = /^([abc]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$/.exec(text.trim());
  if (!match) throw invalid(`invalid device cgroup rule format: '${text}': write it as "c 1:3 rwm"`);
  const [, type, major, minor, access] = match;
  const isAll = major === '*' && minor === '*' && new Set(access).size === 3;
  const types = type !== 'a' || isAll ? [type as DeviceRule['type']] : (['b', 'c'] as const);
  return types.map((each) => ({
    type: each,
    ...(major === '*' ? {} : { major: Number(major) }),
    ...(minor === '*' ? {} : { minor: Number(minor) }),
    access: access!,
  }));
}

export function blockLimit({ kind, path, rate }: BlkioLimit): BlockLimit {
  if (kind === 'UNRECOGNIZED') throw invalid(`HostConfig.Blkio: a limit of "${path}" is of an unknown kind`);
  const { mode, rdev } = lookUp(path);
  if ((mode & S_IFMT) !== S_IFBLK) throw invalid(`HostConfig.Blkio: "${path}" is not a block device`);
  return { kind, rate, major: majorOf(rdev), minor: minorOf(rdev) };
}
