import { type Case, docker, filters, http, running } from '../case.js';

const OWN = "each host's bridge is Tessera's own";

/** Networks that every engine has. */
export const networks: readonly Case[] = [
  {
    name: 'predefined networks',
    proves: 'are listed, and found by name',
    differs: [
      { at: 'GET /networks/bridge body.IPAM.Config[0].Subnet', why: OWN },
      { at: 'GET /networks/bridge body.Options.*', why: OWN },
      { at: '* body.message', why: 'says what may be written' },
    ],
    steps: [
      docker("network ls --filter type=builtin --format '{{.Name}} {{.Driver}} {{.Scope}}'"),
      docker("network ls --filter driver=null --format '{{.Name}}'"),
      docker("network ls --filter name=bri --filter scope=local --format '{{.Name}}'"),
      docker("network ls --filter dangling=true --filter driver=bridge --format '{{.Name}}'"),
      http('GET /networks/bridge', {
        only: [
          'Name',
          'Id',
          'Created',
          'Scope',
          'Driver',
          'EnableIPv6',
          'IPAM',
          'Internal',
          'Attachable',
          'Ingress',
          'ConfigFrom',
          'ConfigOnly',
          'Options',
          'Labels',
        ],
      }),
      http('GET /networks/none', {
        only: ['Name', 'Id', 'Scope', 'Driver', 'IPAM.Driver', 'Options', 'Labels'],
      }),
      http('GET /networks/host', {
        only: ['Name', 'Id', 'Scope', 'Driver', 'IPAM.Driver', 'Options', 'Labels'],
      }),
      docker("network inspect -f '{{(index .IPAM.Config 0).Gateway}}' bridge"),
      docker('network inspect nosuch'),
      docker('network rm bridge'),
      docker('network create bridge'),
      http('DELETE /networks/none'),
      http(`GET /networks?${filters({ nosuch: ['x'] })}`),
    ],
  },
  {
    name: 'members of the bridge',
    proves: 'are those that run on it',
    steps: [
      ...running(),
      docker(
        "network inspect -f '{{range .Containers}}{{if eq .Name \"'$c'\"}}{{.Name}} {{.MacAddress}} {{.IPv4Address}}{{end}}{{end}}' bridge | cut -d/ -f1",
      ),
      http('POST /containers/$c/stop?t=0'),
      docker(
        "network inspect -f '{{range .Containers}}{{if eq .Name \"'$c'\"}}{{.Name}}{{end}}{{end}}' bridge",
      ),
    ],
  },
];
