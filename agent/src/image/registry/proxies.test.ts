import { mkdirSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { TestAuthority } from '@tessera/shared/testing/certificates';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseProxySettings, proxyFor } from './proxies.js';
import { DockerRegistry } from './testing/docker-registry.js';
import { imageOf, RegistryFixture } from './testing/fixture.js';

/** A proxy to the loopback address, whatever host it is asked for; and what it was asked. */
async function startProxy(status = 200) {
  const asked: { line: string; authorization: string | undefined }[] = [];
  const note = ({ method, url, headers }: http.IncomingMessage) =>
    asked.push({ line: `${method} ${url}`, authorization: headers['proxy-authorization'] });
  const server = http.createServer((request, response) => {
    note(request);
    const { port, pathname, search } = new URL(request.url!);
    const { method, headers } = request;
    const path = pathname + search;
    request.pipe(
      http.request({ host: '127.0.0.1', port, path, method, headers }, (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(response);
      }),
    );
  });
  server.on('connect', (request, socket) => {
    note(request);
    if (status !== 200) return socket.end(`HTTP/1.1 ${status} Refused\r\n\r\n`);
    const target = connect(Number(request.url!.split(':').at(-1)), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      socket.pipe(target).pipe(socket);
    });
    for (const end of [socket, target]) end.on('error', () => [socket, target].map((each) => each.destroy()));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://alice:pass%20word@127.0.0.1:${port}`,
    asked,
    stop: () => server.closeAllConnections(),
  };
}

const PROXIES = { httpProxy: 'http://plain:3128', httpsProxy: 'tls:3129', noProxy: '' };
const NONE_FOR = 'corp.test, .only.test:5000, 10.0.0.0/8, 192.0.2.7, fd00::/8, exact.test:443';

test.each([
  ['http://registry.test/v2/', '', 'http://plain:3128/'],
  ['https://registry.test/v2/', '', 'http://tls:3129/'],
  ['http://localhost:5000/', '', undefined],
  ['http://127.1.2.3:5000/', '', undefined],
  ['http://[::1]:5000/', '', undefined],
  ['https://registry.test/', '*', undefined],
  ['https://corp.test/', NONE_FOR, undefined],
  ['https://a.CORP.test/', NONE_FOR, undefined],
  ['https://notcorp.test/', NONE_FOR, 'http://tls:3129/'],
  ['https://a.only.test:5000/', NONE_FOR, undefined],
  ['https://a.only.test/', NONE_FOR, 'http://tls:3129/'],
  ['https://only.test:5000/', NONE_FOR, 'http://tls:3129/'],
  ['https://exact.test/', NONE_FOR, undefined],
  ['https://10.9.8.7/', NONE_FOR, undefined],
  ['https://192.0.2.7:1/', NONE_FOR, undefined],
  ['https://[fd00::5]/', NONE_FOR, undefined],
  ['https://192.0.2.8/', NONE_FOR, 'http://tls:3129/'],
])('%s without a proxy for %j goes by %s', (url, noProxy, expected) => {
  expect(proxyFor(new URL(url), { ...PROXIES, noProxy })?.href).toBe(expected);
});

test.each(['socks5://h:1', 'http://', 'ftp://h'])('the proxy %s is refused', (httpsProxy) => {
  expect(() => parseProxySettings({ ...PROXIES, httpsProxy })).toThrow('is not valid');
});

let fixture: RegistryFixture;
beforeEach(() => {
  fixture = new RegistryFixture();
});
afterEach(() => fixture.remove());

test.each(['without', 'with'])(
  'a registry %s TLS is reached through a proxy that wants a password',
  async (how) => {
    const isTls = how === 'with';
    const authority = await TestAuthority.create();
    const tls = await authority.issue({ nodeId: 'registry.test', role: 'manager' });
    const registry = await DockerRegistry.start(isTls ? { tls } : {});
    const proxy = await startProxy();
    const host = `registry.test:${registry.port}`;
    const proxies = { httpProxy: proxy.url, httpsProxy: proxy.url, noProxy: '' };
    const certsDirectory = fixture.certsDirectory;
    const by = fixture.registries({
      settings: { insecureRegistries: isTls ? [] : [host], mirrors: [], certsDirectory, proxies },
    });
    mkdirSync(join(certsDirectory, host));
    writeFileSync(join(certsDirectory, host, 'ca.crt'), authority.caCertPem);
    try {
      const store = await fixture.stores.open();
      const image = await fixture.load(store, await imageOf('app', [100_000]));

      await fixture.push(by, store, image, `${host}/app:1`);
      const { image: pulled } = await fixture.pull(by, await fixture.stores.open('other'), `${host}/app:1`);

      expect(pulled.id).toBe(image.id);
      const line = isTls ? `CONNECT ${host}` : `GET http://${host}/v2/app/manifests/${pulled.id}`;
      expect(proxy.asked.map((each) => each.line)).toContain(line);
      const password = `Basic ${Buffer.from('alice:pass word').toString('base64')}`;
      expect(new Set(proxy.asked.map(({ authorization }) => authorization))).toEqual(new Set([password]));
    } finally {
      proxy.stop();
      await registry.stop();
    }
  },
);

test('a proxy that refuses is named', async () => {
  const proxy = await startProxy(403);
  const proxies = { httpProxy: '', httpsProxy: proxy.url, noProxy: '' };
  const settings = { insecureRegistries: [], mirrors: [], certsDirectory: fixture.certsDirectory, proxies };
  const store = await fixture.stores.open();

  await expect(fixture.pull(fixture.registries({ settings }), store, 'registry.test/app:1')).rejects.toThrow(
    /proxy 127\.0\.0\.1:\d+ refused a connection to registry\.test:443: 403/,
  );
  proxy.stop();
});
