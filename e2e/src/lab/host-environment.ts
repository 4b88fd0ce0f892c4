import { ROOT } from './paths.js';

/** What the user's own shell says about a cluster. Inside a host it would lead out of the lab, to another one. */
const ELSEWHERE = /^(TSCTL|TESSERA|DOCKER)_/;

/** The environment of whatever runs in a host: that of this process, with tsctl on its path. */
export function hostEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !ELSEWHERE.test(name));
  return { ...Object.fromEntries(kept), PATH: `${ROOT}node_modules/.bin:${process.env.PATH}` };
}
