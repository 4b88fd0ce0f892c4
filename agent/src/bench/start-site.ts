import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where containers are started for measuring: a network namespace with a bridge, and a root file system. */
export class StartSite {
  readonly lower: string;
  readonly work: string;
  /** On tmpfs, as /run is: for what does not outlive a boot, ours and the peers'. */
  readonly run: string;
  readonly netns: string;
  readonly bridge = 'br0';

  /** @param name at most 7 characters, nobody else's */
  constructor(
    readonly dir: string,
    readonly name: string,
  ) {
    this.lower = makeRoot(join(dir, 'lower'));
    this.work = join(dir, 'work');
    this.run = join('/dev/shm', name);
    mkdirSync(this.work);
    mkdirSync(this.run);
    this.netns = `/run/netns/${name}`;
    execFileSync('ip', ['netns', 'add', name]);
    execFileSync('ip', ['-n', name, 'link', 'add', this.bridge, 'type', 'bridge']);
    execFileSync('ip', ['-n', name, 'link', 'set', this.bridge, 'up']);
  }

  close(): void {
    execFileSync('ip', ['netns', 'delete', this.name]);
    rmSync(this.run, { recursive: true, force: true });
  }
}

/** busybox and what containers expect to find. */
function makeRoot(root: string): string {
  for (const dir of ['bin', 'etc', 'tmp', 'root', 'proc', 'sys', 'dev'])
    mkdirSync(join(root, dir), { recursive: true });
  chmodSync(join(root, 'tmp'), 0o1777);
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  for (const applet of ['sh', 'true', 'sleep']) symlinkSync('busybox', join(root, 'bin', applet));
  for (const file of ['hosts', 'hostname', 'resolv.conf']) writeFileSync(join(root, 'etc', file), '');
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\n');
  return root;
}
