import { invalid } from '@tessera/shared/errors';
import {
  type ContainerCalls,
  type Containers,
  commitContainer,
} from '../../../controlapi/containers/index.js';
import {
  applyImageChanges,
  type ControlContext,
  type HealthcheckJson,
  type ImageRunConfigJson,
} from '../../../controlapi/index.js';
import { json, type Route, route } from '../../route.js';
import { isEmpty, isTrue } from '../json-edge.js';
import { effectiveConfig } from './effective-config.js';
import { configToDocker } from './inspect.js';

/** `POST /commit`: an image of what a container has written. */
export function commitRoutes(
  containers: Containers,
  calls: ContainerCalls,
  context: ControlContext,
): Route[] {
  return [
    route('POST', '/commit', async ({ query, body, signal }) => {
      const name = query.get('container') ?? '';
      if (name === '') throw invalid('invalid name or ID supplied: ""');
      const one = await containers.inspect(name);
      const effective = effectiveConfig(one.view, one.container);
      const own = configToDocker(one, effective) as ImageRunConfigJson;
      const asked = isEmpty(body) ? own : configOf(body);
      const wanted = {
        name: nameOf(query.get('repo') ?? '', query.get('tag') ?? ''),
        config: mergeConfigs(applyImageChanges(asked, query.getAll('changes')), own),
        author: query.get('author') ?? '',
        comment: query.get('comment') ?? '',
        createdBy: effective.command.join(' '),
        // As Docker: it is paused unless one says otherwise.
        pause: !query.has('pause') || isTrue(query.get('pause')),
      };
      const image = await commitContainer(context, calls, one, wanted, signal);
      return json(201, { Id: image.configDigest });
    }),
  ];
}

function nameOf(repo: string, tag: string): string {
  if (repo === '' && tag !== '') throw invalid('tag: give a repo too');
  return tag === '' ? repo : `${repo}:${tag}`;
}

function configOf(body: unknown): ImageRunConfigJson {
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as ImageRunConfigJson;
  throw invalid('the body: give a container configuration, or none');
}

/** What the one does not say is as in the other. Source: moby daemon/commit.go, merge. */
export function mergeConfigs(asked: ImageRunConfigJson, own: ImageRunConfigJson): ImageRunConfigJson {
  const hasEntrypoint = (asked.Entrypoint ?? []).length > 0;
  const command = (asked.Cmd ?? []).length > 0 || hasEntrypoint ? asked.Cmd : own.Cmd;
  const entrypoint = asked.Entrypoint ?? own.Entrypoint;
  const healthcheck = mergeHealthchecks(asked.Healthcheck, own.Healthcheck);
  return {
    ...asked,
    User: asked.User || (own.User ?? ''),
    WorkingDir: asked.WorkingDir || (own.WorkingDir ?? ''),
    ...(asked.StopSignal || own.StopSignal ? { StopSignal: asked.StopSignal || own.StopSignal! } : {}),
    Env: mergeEnvironments(asked.Env ?? [], own.Env ?? []),
    Labels: { ...own.Labels, ...asked.Labels },
    ...(isEmpty(asked.ExposedPorts) && isEmpty(own.ExposedPorts)
      ? {}
      : { ExposedPorts: { ...own.ExposedPorts, ...asked.ExposedPorts } }),
    Volumes: asked.Volumes || own.Volumes ? { ...own.Volumes, ...asked.Volumes } : null,
    Cmd: command ?? null,
    Entrypoint: entrypoint ?? null,
    ...(healthcheck ? { Healthcheck: healthcheck } : {}),
  };
}

function mergeEnvironments(asked: readonly string[], own: readonly string[]): string[] {
  const nameOfEntry = (entry: string) => entry.split('=', 1)[0];
  const names = new Set(asked.map(nameOfEntry));
  return [...asked, ...own.filter((entry) => !names.has(nameOfEntry(entry)))];
}

function mergeHealthchecks(
  asked: HealthcheckJson | null | undefined,
  own: HealthcheckJson | null | undefined,
): HealthcheckJson | undefined {
  if (!asked || !own) return asked ?? own ?? undefined;
  const said = Object.entries(asked).filter(([, value]) => !isEmpty(value));
  return { ...own, ...Object.fromEntries(said) };
}
