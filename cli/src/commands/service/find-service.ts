import type { ServiceJson } from '@tessera/shared/docker-api';
import type { Cli } from '../../cli.js';
import { ApiError, MissingError } from '../../cli-error.js';

/** @throws MissingError in docker's words when there is none of that name or id */
export async function findService(cli: Cli, name: string): Promise<ServiceJson> {
  try {
    return await cli.api.get<ServiceJson>(`/services/${encodeURIComponent(name)}`);
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) throw new MissingError(`no such service: ${name}`);
    throw error;
  }
}
