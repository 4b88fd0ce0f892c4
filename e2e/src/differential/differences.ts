import type { Difference } from './case.js';

const INSPECT = 'GET /containers/$c/json body';
const HEADERS = 'headers stand on every answer: on errors and raw connections as well';
const EMPTY = 'what was not given is shown as the docker client gives it, empty rather than null';
const BRIDGE = "the bridge is each host's own, with a range of addresses of its own";

/** Meant in every case. The first that fits counts. */
export const DIFFERENCES: readonly Difference[] = [
  { at: '* header server', why: 'names the engine' },
  { at: '* header api-version', why: 'the newest version that the engine speaks: ours is 1.50' },
  { at: '* header docker-experimental', why: HEADERS },
  { at: '* header ostype', why: HEADERS },
  { at: `${INSPECT}.Node*`, why: 'where the container is, as the stand-alone Swarm told it' },
  {
    at: `${INSPECT}.Driver`,
    why: 'the kernel file system is overlayfs; overlay2 is the name of a driver of dockerd',
  },
  { at: `${INSPECT}.GraphDriver.*`, why: "layers are the host's own matter: no path of it is given away" },
  { at: `${INSPECT}.HostConfig.Runtime`, why: "containers are run by Tessera's own runtime" },
  {
    at: `${INSPECT}.HostConfig.CgroupnsMode`,
    why: "private everywhere; dockerd shares the host's on cgroup v1",
  },
  ...['PortBindings', 'Dns', 'DnsOptions', 'DnsSearch', 'Devices', 'Ulimits', 'BlkioWeightDevice'].map(
    (field) => ({
      at: `${INSPECT}.HostConfig.${field}`,
      why: EMPTY,
    }),
  ),
  { at: `${INSPECT}.HostConfig.BlkioDevice*`, why: EMPTY },
  {
    at: `${INSPECT}.HostConfig.MaskedPaths*`,
    why: 'two more are masked: /proc/interrupts and the power meters, as dockerd does since 27',
  },
  { at: '* body*.GwPriority', why: 'a field of API 1.48' },
  { at: '* body*IPPrefixLen', why: BRIDGE },
  { at: `${INSPECT}.NetworkSettings.Sandbox*`, why: "network namespaces are the host's own matter" },
];
