import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { must } from '../lab/command.js';
import { makeLabImage } from '../lab/images.js';
import { ROOT } from '../lab/paths.js';
import { installPolicy, POLICY_MODULE, POLICY_PACKAGE } from './policy.js';

export interface VmImage {
  /** Root file system, raw ext4, to be used below a copy-on-write overlay. */
  readonly disk: string;
  readonly kernel: string;
}

const PACKAGES = [
  'linux-image-cloud-amd64',
  'bash',
  'iproute2',
  'iputils-ping',
  'kmod',
  'procps',
  'util-linux',
  'busybox-static',
  'apparmor',
  POLICY_PACKAGE,
  'curl',
  'nftables',
  'libnftables1',
  'libseccomp2',
  'libarchive13',
  'libzstd1',
  'zlib1g',
  'libatomic1',
  'etcd-server',
  // For what is only so on a host with a service manager.
  'systemd-sysv',
  'udev',
  'dbus',
];

/** Run by systemd in a machine that is booted with it; a machine whose first process is `lab-init` has none of them. */
const UNITS = ['lab-repo.service', 'lab-phase.service'];
/** What a test machine has no use for, and what takes an emulated processor seconds. */
const MASKED = [
  'systemd-networkd-wait-online.service',
  'systemd-timesyncd.service',
  'systemd-pstore.service',
  'systemd-update-utmp.service',
  'e2scrub_reap.service',
  'apt-daily.timer',
  'apt-daily-upgrade.timer',
  'dpkg-db-backup.timer',
  'fstrim.timer',
  'serial-getty@ttyS0.service',
  'getty@tty1.service',
];

/**
 * The test machine's root file system and stock kernel, made once by mmdebstrap and kept under .cache/vm by the
 * hash of what it is made of. Takes about a minute when it is not there.
 */
export async function vmImage(say: (line: string) => void): Promise<VmImage> {
  const suite = codename();
  const init = `${ROOT}e2e/vm/lab-init.sh`;
  const sources = [
    init,
    POLICY_MODULE,
    ...[...UNITS, 'lab-repo.sh'].map((name) => `${ROOT}e2e/vm/systemd/${name}`),
  ];
  const digest = createHash('sha256').update(`${suite} ${[...PACKAGES, ...MASKED].join(' ')}`);
  for (const source of sources) digest.update(readFileSync(source));
  const hash = digest.digest('hex').slice(0, 16);
  const cache = `${ROOT}.cache/vm`;
  const image = { disk: `${cache}/${hash}.raw`, kernel: `${cache}/${hash}.vmlinuz` };
  if (existsSync(image.disk) && existsSync(image.kernel)) return image;

  say(`building the machine's root file system (${suite}); once`);
  mkdirSync(cache, { recursive: true });
  // Those made of other files are of no use any more.
  for (const name of readdirSync(cache))
    if (/^[0-9a-f]{16}\./.test(name)) rmSync(`${cache}/${name}`, { recursive: true });
  const root = `${cache}/${hash}.root`;
  await must([
    'mmdebstrap',
    '--quiet',
    '--variant=minbase',
    `--include=${PACKAGES.join(',')}`,
    '--dpkgopt=path-exclude=/usr/share/doc/*',
    '--dpkgopt=path-exclude=/usr/share/man/*',
    suite,
    root,
  ]);
  copyFileSync(init, `${root}/sbin/lab-init`);
  chmodSync(`${root}/sbin/lab-init`, 0o755);
  installUnits(root);
  const kernel = readdirSync(`${root}/boot`).find((file) => file.startsWith('vmlinuz-'));
  copyFileSync(`${root}/boot/${kernel}`, image.kernel);
  await installPolicy(root);
  // With its journal: one of the tests cuts the machine's power.
  await must(['mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=1', '-d', root, `${image.disk}.tmp`, '3G']);
  rmSync(root, { recursive: true, force: true });
  renameSync(`${image.disk}.tmp`, image.disk);
  return image;
}

function installUnits(root: string): void {
  const units = `${root}/etc/systemd/system`;
  copyFileSync(`${ROOT}e2e/vm/systemd/lab-repo.sh`, `${root}/usr/local/sbin/lab-repo.sh`);
  mkdirSync(`${units}/multi-user.target.wants`, { recursive: true });
  for (const unit of UNITS) {
    copyFileSync(`${ROOT}e2e/vm/systemd/${unit}`, `${units}/${unit}`);
    symlinkSync(`../${unit}`, `${units}/multi-user.target.wants/${unit}`);
  }
  for (const unit of MASKED) {
    rmSync(`${units}/${unit}`, { force: true });
    symlinkSync('/dev/null', `${units}/${unit}`);
  }
  writeFileSync(`${root}/etc/fstab`, '');
  // Empty: made anew at the first boot, as an installer leaves it.
  writeFileSync(`${root}/etc/machine-id`, '');
}

/** The checkout as it is built now, an image of busybox, and node with what it links, as a machine's second disk. */
export async function repositoryDisk(command: string): Promise<string> {
  const cache = `${ROOT}.cache/vm`;
  const disk = `${cache}/repo.raw`;
  const tree = `${cache}/tree`;
  rmSync(tree, { recursive: true, force: true });
  mkdirSync(`${tree}/.cache/vm/lib`, { recursive: true });
  mkdirSync(`${tree}/node`, { recursive: true });
  await must(['tar', '-C', ROOT, '--exclude=./.cache', '--exclude=./.git', '-cf', `${tree}.tar`, '.']);
  await must(['tar', '-C', tree, '-xf', `${tree}.tar`]);
  rmSync(`${tree}.tar`);
  await makeLabImage(`${tree}/.cache/vm/busybox.tar`);
  copyFileSync(process.execPath, `${tree}/node/node`);
  chmodSync(`${tree}/node/node`, 0o755);
  for (const library of await linkedLibraries(process.execPath)) {
    copyFileSync(library, `${tree}/.cache/vm/lib/${library.split('/').pop()}`);
  }
  writeFileSync(
    `${tree}/.cache/vm/command.sh`,
    `mkdir -p /opt/node/bin; ln -sf /repo/node/node /opt/node/bin/node\n${command}\n`,
  );
  await must(['mkfs.ext4', '-q', '-F', '-O', '^has_journal', '-d', tree, disk, '1500M']);
  rmSync(tree, { recursive: true, force: true });
  return disk;
}

/** What a program links beyond the C library, which the machine has itself. */
async function linkedLibraries(path: string): Promise<string[]> {
  const lines = (await must(['ldd', path])).split('\n');
  return lines
    .map((line) => /=> (\/\S+)/.exec(line)?.[1])
    .filter((file): file is string => file !== undefined)
    .filter((file) => !/\/(libc|libm|libdl|libpthread|librt|ld-linux[^/]*)\.so/.test(file));
}

function codename(): string {
  const name = /^VERSION_CODENAME=(\S+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  return name ?? 'bookworm';
}
