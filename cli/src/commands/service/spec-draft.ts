import type {
  ContainerSpecJson,
  HealthcheckJson,
  ResourcesJson,
  RestartPolicyJson,
  ServiceSpecJson,
  TaskSpecJson,
  UpdateConfigJson,
} from '@tessera/shared/docker-api';

type DeepMutable<T> = T extends readonly (infer Item)[]
  ? DeepMutable<Item>[]
  : T extends object
    ? { -readonly [K in keyof T]: DeepMutable<T[K]> }
    : T;

type Spec = DeepMutable<ServiceSpecJson>;

/** A service's spec while flags are written into it; its parts come to be when they are first touched. */
export class SpecDraft {
  readonly spec: Spec;

  constructor(spec: ServiceSpecJson) {
    this.spec = structuredClone(spec) as Spec;
  }

  get task(): DeepMutable<TaskSpecJson> {
    this.spec.TaskTemplate ??= {};
    return this.spec.TaskTemplate;
  }
  get container(): DeepMutable<ContainerSpecJson> {
    this.task.ContainerSpec ??= {};
    return this.task.ContainerSpec;
  }
  get limits(): DeepMutable<ResourcesJson> {
    this.#resources.Limits ??= {};
    return this.#resources.Limits;
  }
  get reservations(): DeepMutable<ResourcesJson> {
    this.#resources.Reservations ??= {};
    return this.#resources.Reservations;
  }
  get restart(): DeepMutable<RestartPolicyJson> {
    this.task.RestartPolicy ??= {};
    return this.task.RestartPolicy;
  }
  get placement(): NonNullable<DeepMutable<TaskSpecJson>['Placement']> {
    this.task.Placement ??= {};
    return this.task.Placement;
  }
  get logDriver(): NonNullable<DeepMutable<TaskSpecJson>['LogDriver']> {
    this.task.LogDriver ??= {};
    return this.task.LogDriver;
  }
  get health(): DeepMutable<HealthcheckJson> {
    this.container.Healthcheck ??= {};
    return this.container.Healthcheck;
  }
  get dns(): NonNullable<DeepMutable<ContainerSpecJson>['DNSConfig']> {
    this.container.DNSConfig ??= {};
    return this.container.DNSConfig;
  }
  get update(): DeepMutable<UpdateConfigJson> {
    this.spec.UpdateConfig ??= { ...UPDATE_DEFAULTS };
    return this.spec.UpdateConfig;
  }
  get rollback(): DeepMutable<UpdateConfigJson> {
    this.spec.RollbackConfig ??= { ...UPDATE_DEFAULTS };
    return this.spec.RollbackConfig;
  }

  get #resources(): NonNullable<DeepMutable<TaskSpecJson>['Resources']> {
    this.task.Resources ??= {};
    return this.task.Resources;
  }
}

/** One task at a time, as docker's flags have it: the API takes a missing number for all at once. */
const UPDATE_DEFAULTS: UpdateConfigJson = {
  Parallelism: 1,
  Delay: 0,
  FailureAction: 'pause',
  Monitor: 5_000_000_000,
  MaxFailureRatio: 0,
  Order: 'stop-first',
};
