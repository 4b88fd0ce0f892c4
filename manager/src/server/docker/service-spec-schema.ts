import { z } from 'zod';
import { healthcheckBody } from './healthcheck-json.js';
import { count, duration, flag, integer, oneOf, strictObject, text, textMap, texts } from './json-edge.js';
import { mountSchema } from './mount-json.js';

// The Docker API's ServiceSpec as it is accepted. Source: moby api/swagger.yaml, v1.50.

const LATER = 'is not supported yet; leave it out';

const containerSpec = strictObject(
  {
    Image: text,
    Labels: textMap,
    Command: texts,
    Args: texts,
    Hostname: text,
    Env: texts,
    Dir: text,
    User: text,
    Groups: texts,
    Privileges: strictObject(
      { NoNewPrivileges: flag },
      {
        CredentialSpec: 'is for Windows; leave it out',
        SELinuxContext: 'is not supported; leave it out',
        AppArmor: LATER,
        Seccomp: LATER,
      },
    ).nullish(),
    ReadOnly: flag,
    Mounts: z.array(mountSchema).nullish(),
    StopSignal: text,
    StopGracePeriod: duration,
    Healthcheck: healthcheckBody.nullish(),
    Hosts: texts,
    DNSConfig: strictObject({ Nameservers: texts, Search: texts, Options: texts }).nullish(),
    Sysctls: textMap,
    CapabilityAdd: texts,
    CapabilityDrop: texts,
    Ulimits: z.array(strictObject({ Name: z.string(), Soft: z.int(), Hard: z.int() })).nullish(),
    OomScoreAdj: integer,
  },
  {
    TTY: 'terminals for services are not supported yet; leave --tty out',
    OpenStdin: 'standard input for services is not supported yet; leave it out',
    Init: 'an init process is not supported yet; leave --init out',
    Secrets: 'secrets are not supported yet; leave them out',
    Configs: 'configs are not supported yet; leave them out',
    Isolation: 'is for Windows; leave it out',
  },
);

const resources = strictObject(
  { NanoCPUs: count, MemoryBytes: count, Pids: count },
  { GenericResources: 'generic resources are not supported yet; leave them out' },
);

export const updateConfig = strictObject({
  Parallelism: count,
  Delay: duration,
  FailureAction: oneOf('pause', 'continue', 'rollback'),
  Monitor: duration,
  MaxFailureRatio: z.number().min(0).max(1).nullish(),
  Order: oneOf('stop-first', 'start-first'),
});

const networks = z
  .array(
    strictObject(
      { Target: z.string(), Aliases: texts },
      { DriverOpts: 'driver options of an attachment are not supported yet; leave them out' },
    ),
  )
  .nullish();

export const taskTemplate = strictObject(
  {
    ContainerSpec: containerSpec.nullish(),
    Resources: strictObject(
      { Limits: resources.nullish(), Reservations: resources.nullish() },
      { SwapBytes: 'swap limits are not supported yet; leave them out', MemorySwappiness: LATER },
    ).nullish(),
    RestartPolicy: strictObject({
      Condition: oneOf('none', 'on-failure', 'any'),
      Delay: duration,
      MaxAttempts: count,
      Window: duration,
    }).nullish(),
    Placement: strictObject({
      Constraints: texts,
      Preferences: z
        .array(strictObject({ Spread: strictObject({ SpreadDescriptor: z.string() }) }))
        .nullish(),
      MaxReplicas: count,
      Platforms: z.array(strictObject({ OS: text, Architecture: text })).nullish(),
    }).nullish(),
    Networks: networks,
    LogDriver: strictObject({ Name: text, Options: textMap }).nullish(),
    ForceUpdate: count,
    Runtime: z.literal(['', 'container'], 'only containers can be run').nullish(),
  },
  {
    PluginSpec: 'plugins cannot be run as services',
    NetworkAttachmentSpec: 'cannot be created by a client',
  },
);

export const serviceSpec = strictObject({
  Name: text,
  Labels: textMap,
  TaskTemplate: taskTemplate.nullish(),
  Mode: strictObject(
    { Replicated: strictObject({ Replicas: count }).nullish(), Global: strictObject({}).nullish() },
    {},
  )
    .superRefine((mode, context) => {
      // `"GlobalJob": {}` has no content, yet it is meant.
      for (const [key, content] of Object.entries(mode)) {
        if (key === 'Replicated' || key === 'Global' || content === undefined || content === null) continue;
        const message = key.endsWith('Job')
          ? 'jobs are not supported yet; use Replicated'
          : 'is not a mode; use Replicated or Global';
        context.addIssue({ code: 'custom', path: [key], message });
      }
      if (mode.Replicated && mode.Global) {
        context.addIssue({ code: 'custom', path: [], message: 'give Replicated or Global, not both' });
      }
    })
    .nullish(),
  UpdateConfig: updateConfig.nullish(),
  RollbackConfig: updateConfig.nullish(),
  Networks: networks,
  EndpointSpec: strictObject(
    { Mode: oneOf('vip', 'dnsrr') },
    { Ports: 'published ports are not supported yet; leave --publish out' },
  ).nullish(),
});

export type ServiceSpecBody = z.output<typeof serviceSpec>;
export type TaskTemplateBody = z.output<typeof taskTemplate>;
export type UpdateConfigBody = z.output<typeof updateConfig>;
