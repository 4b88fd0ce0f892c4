import type { VolumeJson } from '@tessera/shared/docker-api';
import { invalid } from '@tessera/shared/errors';
import { ANONYMOUS_LABEL } from '@tessera/shared/volumes';
import type { ControlContext } from '../../controlapi/index.js';
import {
  type KnownVolume,
  nameOfNode,
  noSuchVolume,
  usagesOf,
  usersOfVolume,
  type Volumes,
  type VolumeUsage,
} from '../../controlapi/volumes/index.js';
import { empty, json, type Route, route } from '../route.js';
import { mountpointOn } from './containers/mount-points.js';
import { Filters } from './filters.js';
import { isTrue, parseBody, sortedMap, strictObject, text, textMap, timeJson } from './json-edge.js';

const FILTERS = ['dangling', 'driver', 'label', 'name', 'node'] as const;
const PRUNE_FILTERS = ['all', 'label', 'label!'] as const;
/** Before this version all unused volumes were pruned, since it those that nobody has named. */
const PRUNES_ANONYMOUS_SINCE = 142;
const LOCAL_DRIVER = 'local';

const volumeCreate = strictObject(
  { Name: text, Driver: text, DriverOpts: textMap, Labels: textMap },
  { ClusterVolumeSpec: 'volumes of CSI drivers are not supported; leave it out' },
);

/** `/volumes`, Docker Engine API v1.24 and later. */
export function volumeRoutes(volumes: Volumes, { streams }: ControlContext): Route[] {
  return [
    route('GET', '/volumes', async ({ query }) => {
      const filters = Filters.parse(query.get('filters'), FILTERS);
      const dangling = filters.get('dangling').map((word) => flagOf('dangling', word));
      const found = (await volumes.list()).filter(
        (one) =>
          matches(filters, one) &&
          (dangling.length === 0 || dangling.includes(usersOfVolume(one).length === 0)),
      );
      return json(200, { Volumes: found.map((one) => volumeToDocker(one)), Warnings: null });
    }),

    route('POST', '/volumes/create', async ({ body }) => {
      const { Name, Driver, DriverOpts, Labels } = parseBody('volume', volumeCreate, body);
      const made = await volumes.create({
        name: Name ?? '',
        driver: Driver ?? '',
        options: sortedMap(DriverOpts),
        labels: sortedMap(Labels),
      });
      return json(201, volumeToDocker(made));
    }),

    route('POST', '/volumes/prune', async ({ query, version, signal }) => {
      const filters = Filters.parse(query.get('filters'), PRUNE_FILTERS);
      const all = version < PRUNES_ANONYMOUS_SINCE || filters.get('all').some((word) => flagOf('all', word));
      const unused = (await volumes.list()).filter((one) => usersOfVolume(one).length === 0);
      const sizes = await usagesOf(streams, unused, signal);
      const gone = await volumes.prune((one) => {
        const labels = labelsOf(one);
        return (
          (all || Object.hasOwn(labels, ANONYMOUS_LABEL)) &&
          filters.labels('label', labels) &&
          (!filters.has('label!') || !filters.labels('label!', labels))
        );
      }, signal);
      return json(200, {
        VolumesDeleted: gone.map(({ label }) => label),
        SpaceReclaimed: gone.reduce(
          (sum, { label }) => sum + Math.max(0, sizes.get(label)?.sizeBytes ?? 0),
          0,
        ),
      });
    }),

    route('GET', '/volumes/:name', async ({ params }) =>
      json(200, volumeToDocker(await volumes.inspect(params.name!))),
    ),

    route('DELETE', '/volumes/:name', async ({ params, query, signal }) => {
      const force = isTrue(query.get('force'));
      try {
        await volumes.remove(params.name!, force, signal);
      } catch (error) {
        // What is not there is removed, where that is insisted on.
        if (!force || (error as Error).message !== noSuchVolume(params.name!).message) throw error;
      }
      return empty(204);
    }),
  ];
}

/** @throws ClusterError `invalidArgument` in Docker's words */
function flagOf(key: string, word: string): boolean {
  if (['true', '1', 'True', 'TRUE', 't', 'T'].includes(word)) return true;
  if (['false', '0', 'False', 'FALSE', 'f', 'F'].includes(word)) return false;
  throw invalid(`invalid filter '${key}=[${word}]'`);
}

const matches = (filters: Filters<(typeof FILTERS)[number]>, one: KnownVolume): boolean =>
  filters.any('name', (value) => one.label.includes(value)) &&
  filters.any('driver', (value) => driverOf(one) === value) &&
  filters.labels('label', labelsOf(one)) &&
  filters.any('node', (value) => [one.nodeId, nameOfNode(one.view, one.nodeId)].includes(value));

const driverOf = ({ volume, state }: KnownVolume): string => (volume ?? state)?.driver || LOCAL_DRIVER;
const labelsOf = ({ volume, state }: KnownVolume): Readonly<Record<string, string>> =>
  (volume ?? state)?.labels ?? {};

/** @param usage for `/system/df`, which alone knows it */
export function volumeToDocker(one: KnownVolume, usage?: VolumeUsage): VolumeJson {
  const { view, label, name, volume, state, nodeId } = one;
  const options = (volume ?? state)?.options ?? {};
  const labels = labelsOf(one);
  return {
    CreatedAt: timeJson(volume?.meta?.createdAtMs || state?.createdAtMs || 0),
    Driver: driverOf(one),
    Labels: Object.keys(labels).length > 0 ? labels : null,
    Mountpoint: state?.mountpoint || mountpointOn(view, nodeId, name),
    Name: label,
    Options: Object.keys(options).length > 0 ? options : null,
    Scope: 'local',
    // What a driver has to say: here, where the volume is.
    ...(nodeId ? { Status: { Node: nameOfNode(view, nodeId) } } : {}),
    ...(usage ? { UsageData: { Size: usage.sizeBytes, RefCount: usage.refCount } } : {}),
  };
}
