import { expect, test } from 'vitest';
import { ask } from './control.js';

test('who asks a lab that is not up is told so, and lives on', async () => {
  const name = `none-${process.pid}`;

  await expect(ask(name, { verb: 'status' })).rejects.toMatchObject({
    kind: 'notFound',
    message: `no lab named ${name} is up: start it with npm run lab up`,
  });
});
