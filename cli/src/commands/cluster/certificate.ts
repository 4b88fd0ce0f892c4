import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Verb } from '../../cli.js';
import { parseCount } from '../../output/parse.js';

interface Issued {
  readonly keyPem: string;
  readonly certPem: string;
  readonly caCertPem: string;
}

export const certificate: Verb = (noun, cli) => {
  noun
    .command('certificate')
    .description('Make a client certificate for the API over TLS')
    .argument('<name>', 'whose it is')
    .option('-o, --output <dir>', 'where to write ca.pem, cert.pem and key.pem', '.')
    .option('--valid-days <days>', 'how long it is good for', parseCount('--valid-days'))
    .action(async (name: string, { output, validDays }: { output: string; validDays?: number }) => {
      const issued = await cli.api.post<Issued>('/tessera/v1/client-certificates', { name, validDays });
      await mkdir(output, { recursive: true, mode: 0o700 });
      const write = (file: string, content: string, mode: number) =>
        writeFile(join(output, file), content, { mode });
      await write('key.pem', issued.keyPem, 0o600);
      await write('cert.pem', issued.certPem, 0o644);
      await write('ca.pem', issued.caCertPem, 0o644);
      cli.out.line(`Wrote ca.pem, cert.pem and key.pem to ${output}`);
      cli.out.line(`Use them with: TSCTL_CERT_PATH=${output} tsctl -H tcp://HOST:2376 node ls`);
    });
};
