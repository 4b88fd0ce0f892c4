import { ClusterError, invalid } from '@tessera/shared/errors';
import type { ContainerSpec, Mount, Resources, ServiceSpec, TaskSpec } from '@tessera/shared/model';
import ipaddr from 'ipaddr.js';
import { parseConstraints } from '../constraints/index.js';

/** The least that can be asked for, as Swarm has it: 0.001 CPUs and 4 MiB. */
const NANO_CPUS_MIN = 1_000_000;
const MEMORY_BYTES_MIN = 4 * 1024 * 1024;
const NAME_LENGTH_MAX = 63;
const NAME = /^[a-zA-Z0-9](?:[-_a-zA-Z0-9]*[a-zA-Z0-9])?$/;
const HOSTNAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?$/;
const REPLICAS_MAX = 100_000;

/**
 * Whether a spec can be honoured as a whole. References to other objects are checked where they are resolved.
 *
 * Source: the rules and, where users know them, the words of swarmkit's manager/controlapi/service.go.
 * @throws ClusterError `invalidArgument` that names the field and the mend
 */
export function validateServiceSpec(spec: ServiceSpec): void {
  validateName('service', spec.name);
  if (spec.replicas > REPLICAS_MAX) {
    throw invalid(`Mode.Replicated.Replicas: ${spec.replicas} is too many; ${REPLICAS_MAX} is the most`);
  }
  if (!spec.task?.container) throw invalid('TaskTemplate.ContainerSpec: a service needs a container');
  validateTask(spec.task);
  validateContainer(spec.task.container);
}

/** @param what 'service' or 'network', for the message */
export function validateName(what: string, name: string): void {
  if (name === '') throw invalid(`${what} name: give the ${what} a name`);
  if (name.length > NAME_LENGTH_MAX) {
    throw invalid(`${what} name: '${name}' must be ${NAME_LENGTH_MAX} characters or fewer`);
  }
  if (!NAME.test(name)) {
    throw invalid(
      `${what} name: '${name}' must be valid as a DNS name component: letters, digits, '-' and '_', beginning and ending with a letter or digit`,
    );
  }
}

function validateTask(task: TaskSpec): void {
  const { limits, reservations } = task.resources ?? {};
  validateResources('Limits', limits);
  validateResources('Reservations', reservations);
  if (limits?.memoryBytes && reservations && reservations.memoryBytes > limits.memoryBytes) {
    throw invalid('Resources.Reservations.MemoryBytes: must not exceed Resources.Limits.MemoryBytes');
  }
  if (limits?.nanoCpus && reservations && reservations.nanoCpus > limits.nanoCpus) {
    throw invalid('Resources.Reservations.NanoCPUs: must not exceed Resources.Limits.NanoCPUs');
  }
  parseConstraints(task.placement?.constraints ?? []);
  const seen = new Set<string>();
  for (const { networkId } of task.networks) {
    if (seen.has(networkId)) throw invalid(`Networks: ${networkId} is attached twice; name it once`);
    seen.add(networkId);
  }
}

function validateResources(which: string, resources: Resources | undefined): void {
  if (!resources) return;
  if (resources.nanoCpus !== 0 && resources.nanoCpus < NANO_CPUS_MIN) {
    throw invalid(
      `Resources.${which}.NanoCPUs: invalid cpu value ${resources.nanoCpus / 1e9}: must be at least 0.001`,
    );
  }
  if (resources.memoryBytes !== 0 && resources.memoryBytes < MEMORY_BYTES_MIN) {
    throw invalid(
      `Resources.${which}.MemoryBytes: invalid memory value ${resources.memoryBytes}: must be at least 4MiB`,
    );
  }
}

function validateContainer(spec: ContainerSpec): void {
  for (const entry of spec.env) {
    if (!/^[^=\0]/.test(entry) || entry.includes('\0')) {
      throw invalid(`ContainerSpec.Env: invalid environment variable '${entry}'; write NAME=VALUE`);
    }
  }
  if (spec.hostname !== '' && (spec.hostname.length > 63 || !HOSTNAME.test(spec.hostname))) {
    throw invalid(`ContainerSpec.Hostname: '${spec.hostname}' is no host name of at most 63 characters`);
  }
  if (spec.dir !== '' && !spec.dir.startsWith('/')) {
    throw invalid(`ContainerSpec.Dir: the working directory '${spec.dir}' must be an absolute path`);
  }
  const targets = new Set<string>();
  for (const mount of spec.mounts) validateMount(mount, targets);
  for (const address of spec.dnsServers) {
    if (!ipaddr.isValid(address)) throw invalid(`DNSConfig.Nameservers: '${address}' is no IP address`);
  }
  for (const line of spec.hosts) {
    const [address = '', ...names] = line.trim().split(/\s+/);
    if (!ipaddr.isValid(address) || names.length === 0) {
      throw invalid(`ContainerSpec.Hosts: '${line}' is not of the form IP HOST`);
    }
  }
  for (const { name, soft, hard } of spec.ulimits) {
    if (hard >= 0 && (soft > hard || soft < 0)) {
      throw invalid(
        `ContainerSpec.Ulimits: ${name}: the soft limit ${soft} must not exceed the hard limit ${hard}`,
      );
    }
  }
}

function validateMount(mount: Mount, targets: Set<string>): void {
  const { type, source, target } = mount;
  if (!target.startsWith('/') || target === '/') {
    throw invalid(`ContainerSpec.Mounts: the target '${target}' must be an absolute path other than /`);
  }
  if (targets.has(target)) throw invalid(`ContainerSpec.Mounts: duplicate mount point ${target}`);
  targets.add(target);

  if (type === 'bind' && !source.startsWith('/')) {
    throw invalid(`ContainerSpec.Mounts: the bind source '${source}' of ${target} must be an absolute path`);
  }
  if (type === 'tmpfs' && source !== '') {
    throw invalid(`ContainerSpec.Mounts: a tmpfs has no source; leave out '${source}' of ${target}`);
  }
  if (type === 'volume') {
    throw invalid(`ContainerSpec.Mounts: volumes are not supported yet (${target}); use a bind or tmpfs`);
  }
}

/** What to answer a client whose copy is no longer the latest. Docker's own words and code. */
export const outOfSequence = (): ClusterError => new ClusterError('aborted', 'update out of sequence');
