import { openRig } from './rig.js';

// A test's process that is going to be killed, with a container that runs.

const rig = await openRig();
const container = await rig.create(['sh', '-c', 'echo up; sleep 1d']);
await container.start();
await rig.heard(container, 'up');
const { pid } = container.live.life as { readonly pid: number };
process.stdout.write(`${JSON.stringify({ dir: rig.dir, cgroupParent: rig.options.cgroupParent, pid })}\n`);
