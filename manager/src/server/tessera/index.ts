import { z } from 'zod';
import { type ControlContext, Swarm } from '../../controlapi/index.js';
import { parseBody, strictObject } from '../docker/json-edge.js';
import { empty, json, type Route, route } from '../route.js';

const certificateRequest = strictObject({
  name: z.string('give the user a name').min(1, 'give the user a name'),
  validDays: z.int().min(1).max(3650).nullish(),
});

const clusterUpdate = strictObject({
  apiSocket: z.enum(['managers', 'nobody'], 'give managers or nobody').nullish(),
});

/** `/tessera/v1`: what Docker has no word for. */
export function tesseraRoutes(context: ControlContext): Route[] {
  return [
    route('GET', '/tessera/v1/cluster', async () => {
      const { cluster } = await context.store.read();
      return json(200, {
        id: cluster?.id ?? '',
        incarnation: cluster?.incarnation ?? 0,
        caCertPem: cluster?.caCertPem ?? '',
        nodeId: context.nodeId,
        leaderId: context.leaderId() ?? '',
        apiSocket: cluster?.spec?.apiSocket ?? 'managers',
      });
    }),

    route('POST', '/tessera/v1/cluster/update', async ({ body }) => {
      const { apiSocket } = parseBody('cluster', clusterUpdate, body);
      if (apiSocket) await new Swarm(context).allowApiSocket(apiSocket);
      return empty(204);
    }),

    // Key and certificate are made together and the key is not kept, so the answer is the only copy.
    route('POST', '/tessera/v1/client-certificates', async ({ body }) => {
      const { name, validDays } = parseBody('certificate request', certificateRequest, body);
      const issued = await context.authority.issueClientCertificate({
        name,
        ...(validDays ? { validDays } : {}),
      });
      return json(201, issued);
    }),
  ];
}
