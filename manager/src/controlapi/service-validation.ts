import { ClusterError, errorText, invalid } from '@tessera/shared/errors';
import type { ContainerSpec, Resources, ServiceSpec, TaskSpec } from '@tessera/shared/model';
import { CONSTRAINT_KEYS, isConstraintKey, parseConstraints } from '../constraints/index.js';
import { validateContainer, validateLogDriver } from './container-validation.js';

/** The least that can be asked for, as Swarm has it: 0.001 CPUs and 4 MiB. */
const NANO_CPUS_MIN = 1_000_000;
const MEMORY_BYTES_MIN = 4 * 1024 * 1024;
const NAME_LENGTH_MAX = 63;
const NAME = /^[a-zA-Z0-9](?:[-_a-zA-Z0-9]*[a-zA-Z0-9])?$/;
/** What a resolver of DNS names passes on, dots and underscores too. */
const ALIAS = /^[a-zA-Z0-9_](?:[-_.a-zA-Z0-9]{0,252}[a-zA-Z0-9_])?$/;
const REPLICAS_MAX = 100_000;
const SPREAD_KEY = /^(node|engine)\.labels\.\S+$/i;

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
  refuseTemplates(spec.task.container);
  validateContainer(spec.task.container);
  validateLogDriver(spec.task.logDriver);
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

/** Swarm fills them in per task; handed on as they are they would be silently wrong. */
function refuseTemplates({ env, hostname, mounts }: ContainerSpec): void {
  const texts = [
    ...env.map((text) => ['Env', text] as const),
    ['Hostname', hostname] as const,
    ...mounts.flatMap(({ source, target }) => [['Mounts', source] as const, ['Mounts', target] as const]),
  ];
  const found = texts.find(([, text]) => text.includes('{{'));
  if (found) {
    throw invalid(
      `ContainerSpec.${found[0]}: '${found[1]}': templates are not supported yet; write the value itself`,
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
  for (const constraint of task.placement?.constraints ?? []) validateConstraint(constraint);
  for (const key of task.placement?.spreadOver ?? []) {
    if (!SPREAD_KEY.test(key)) {
      throw invalid(
        `Placement.Preferences: '${key}' is nothing to spread over; write spread=node.labels.NAME or spread=engine.labels.NAME`,
      );
    }
  }
  for (const alias of task.networks.flatMap(({ aliases }) => aliases)) {
    if (!ALIAS.test(alias)) {
      throw invalid(
        `Networks.Aliases: '${alias}' cannot be asked for as a name: use letters, digits, '-', '_' and '.'`,
      );
    }
  }
}

/** Swarm takes a key that it does not know, and its tasks are then pending for ever: here the typing error is told. */
function validateConstraint(expression: string): void {
  try {
    const [constraint] = parseConstraints([expression]);
    if (constraint && !isConstraintKey(constraint.key)) throw invalid(unknownKey(constraint.key));
  } catch (error) {
    throw invalid(
      `Placement.Constraints: '${expression}': ${errorText(error)}; write it as node.labels.disk==ssd`,
    );
  }
}

const unknownKey = (key: string): string =>
  `no node has a '${key}'; the keys are ${CONSTRAINT_KEYS.map((known) => (known.endsWith('.') ? `${known}NAME` : known)).join(', ')}`;

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

/** What to answer a client whose copy is no longer the latest. Docker's own words and code. */
export const outOfSequence = (): ClusterError => new ClusterError('aborted', 'update out of sequence');
