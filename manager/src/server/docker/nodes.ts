import type { NodeJson } from '@tessera/shared/docker-api';
import type { Node, NodeStatus } from '@tessera/shared/model';
import { z } from 'zod';
import type { NodeSpec, Nodes } from '../../controlapi/index.js';
import { nodeName } from '../../controlapi/index.js';
import type { View } from '../../store/view.js';
import { empty, json, type Route, route } from '../route.js';
import { Filters } from './filters.js';
import { isTrue, parseBody, parseVersion, sortedMap, strictObject, text, textMap } from './json-edge.js';
import { objectJson } from './object-json.js';

const FILTERS = ['id', 'name', 'label', 'node.label', 'role', 'membership'] as const;

const nodeSpec = strictObject({
  Name: text,
  Labels: textMap,
  Role: z.enum(['worker', 'manager'], 'give worker or manager'),
  Availability: z.enum(['active', 'pause', 'drain'], 'give active, pause or drain'),
});

/** `/nodes`, Docker Engine API v1.24 and later. */
export function nodeRoutes(nodes: Nodes, leaderId: () => string | undefined): Route[] {
  return [
    route('GET', '/nodes', async ({ query }) => {
      const filters = Filters.parse(query.get('filters'), FILTERS);
      const { view, nodes: all } = await nodes.list();
      return json(
        200,
        all
          .filter((node) => matches(filters, view, node))
          .map((node) => nodeToDocker(view, node, leaderId())),
      );
    }),

    route('GET', '/nodes/:id', async ({ params }) => {
      const { view, node } = await nodes.inspect(params.id!);
      return json(200, nodeToDocker(view, node, leaderId()));
    }),

    route('POST', '/nodes/:id/update', async ({ params, query, body }) => {
      await nodes.update(params.id!, parseVersion(query.get('version')), nodeSpecFromDocker(body));
      return empty();
    }),

    route('DELETE', '/nodes/:id', async ({ params, query }) => {
      await nodes.remove(params.id!, isTrue(query.get('force')));
      return empty();
    }),
  ];
}

function nodeSpecFromDocker(body: unknown): NodeSpec {
  const json = parseBody('node spec', nodeSpec, body);
  return {
    name: json.Name ?? '',
    labels: sortedMap(json.Labels),
    role: json.Role,
    availability: json.Availability,
  };
}

function matches(filters: Filters<(typeof FILTERS)[number]>, view: View, node: Node): boolean {
  return (
    filters.prefix('id', node.id) &&
    filters.prefix('name', nodeName(view, node)) &&
    filters.labels('label', view.nodeStatuses.get(node.id)?.description?.engineLabels ?? {}) &&
    filters.labels('node.label', node.labels) &&
    filters.exactly('role', node.role) &&
    filters.exactly('membership', 'accepted')
  );
}

export function nodeToDocker(view: View, node: Node, leaderId: string | undefined): NodeJson {
  const status = view.nodeStatuses.get(node.id);
  const description = status?.description;
  const capacity = description?.capacity;
  return {
    ...objectJson(node),
    Spec: {
      ...(node.name ? { Name: node.name } : {}),
      Labels: node.labels,
      Role: node.role,
      Availability: node.availability,
    },
    Description: {
      Hostname: description?.hostname || node.name,
      Platform: { Architecture: description?.architecture ?? '', OS: description?.os ?? '' },
      Resources: { NanoCPUs: capacity?.nanoCpus ?? 0, MemoryBytes: capacity?.memoryBytes ?? 0 },
      Engine: {
        EngineVersion: description?.engineVersion ?? '',
        ...(Object.keys(description?.engineLabels ?? {}).length > 0
          ? { Labels: description!.engineLabels }
          : {}),
      },
    },
    Status: statusToDocker(status),
    ...(node.role === 'manager'
      ? {
          ManagerStatus: {
            ...(node.id === leaderId ? { Leader: true } : {}),
            Reachability: status?.state === 'down' ? 'unreachable' : 'reachable',
            Addr: status?.managerAddr ?? '',
          },
        }
      : {}),
  };
}

/** Docker knows no node that restarts and keeps its tasks: it is not connected, and not down. */
function statusToDocker(status: NodeStatus | undefined): NodeJson['Status'] {
  const state = status?.state ?? 'unknown';
  const restarting = state === 'restarting';
  const message = status?.message || (restarting ? 'its agent restarts; its tasks run on' : '');
  return {
    State: restarting ? 'disconnected' : state === 'UNRECOGNIZED' ? 'unknown' : state,
    ...(message ? { Message: message } : {}),
    Addr: status?.addr ?? '',
  };
}
