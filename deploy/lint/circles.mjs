import { posix } from 'node:path';

const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*'(\.[^']+)\.js'/g;

/**
 * Files that import each other in a circle, be it for types alone; each circle once, as a path that ends where it begins.
 *
 * @param {ReadonlyMap<string, string>} texts source text by file name
 */
export function importCircles(texts) {
  const state = new Map();
  const path = [];
  const circles = [];
  const visit = (file) => {
    state.set(file, 'open');
    path.push(file);
    for (const next of importsOf(file, texts)) {
      if (state.get(next) === 'open') circles.push([...path.slice(path.indexOf(next)), next]);
      else if (!state.has(next)) visit(next);
    }
    path.pop();
    state.set(file, 'done');
  };
  for (const file of texts.keys()) if (!state.has(file)) visit(file);
  return circles;
}

const importsOf = (file, texts) =>
  [...texts.get(file).matchAll(IMPORT)]
    .map(([, name]) => `${posix.join(posix.dirname(file), name)}.ts`)
    .filter((name) => texts.has(name));
