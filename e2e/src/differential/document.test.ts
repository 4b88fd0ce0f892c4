import { expect, test } from 'vitest';
import { apiDocument, readDocument } from './document.js';
import { playsOf } from './run.js';
import { TABLE } from './table.js';

test('docs/docker-api.md is what the table and the routes say: `npm run gen:docs` writes it', async () => {
  expect(readDocument()).toBe(await apiDocument());
});

test('each case has a name of its own', () => {
  const keys = playsOf(TABLE).map(({ key }) => key);

  expect(keys.filter((key, index) => keys.indexOf(key) !== index)).toEqual([]);
});
