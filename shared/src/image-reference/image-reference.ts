import { invalid } from '../errors/index.js';

/** An image as a user names it: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`. */
export interface Reference {
  /** With registry host: `docker.io/library/busybox`. */
  readonly repository: string;
  /** Empty when none is given. */
  readonly tag: string;
  /** `sha256:…`, empty when none is given. */
  readonly digest: string;
}

const DEFAULT_HOST = 'docker.io';
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const HOST = /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?$/;
const TAG = /^\w[\w.-]{0,127}$/;

export const isTag = (text: string): boolean => TAG.test(text);
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/**
 * Source: github.com/distribution/reference, whose grammar and normal form this follows.
 * @throws ClusterError `invalidArgument`
 */
export function parseReference(text: string): Reference {
  const bad = (why: string) =>
    invalid(`invalid reference format: image '${text}' ${why}; write NAME[:TAG] or NAME@sha256:DIGEST`);

  const at = text.indexOf('@');
  const digest = at < 0 ? '' : text.slice(at + 1);
  if (at >= 0 && !DIGEST.test(digest)) throw bad('has a digest that is not sha256 and 64 digits');

  const named = at < 0 ? text : text.slice(0, at);
  // A colon after the last slash begins a tag; one before it belongs to the registry's port.
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1);
  const tag = colon < 0 ? '' : named.slice(colon + 1);
  if (colon >= 0 && !TAG.test(tag)) throw bad('has a tag that is not letters, digits, `_`, `.` and `-`');

  const path = colon < 0 ? named : named.slice(0, colon);
  if (path === '') throw bad('has no name');
  const slash = path.indexOf('/');
  const first = slash < 0 ? '' : path.slice(0, slash);
  // Only what looks like a host is one: `team/app` is a path on the default registry.
  const isHost = first.includes('.') || first.includes(':') || first === 'localhost' || /[A-Z]/.test(first);
  const host = isHost ? (first === 'index.docker.io' ? DEFAULT_HOST : first) : DEFAULT_HOST;
  if (!HOST.test(host)) throw bad(`names a registry '${host}' that is no host name`);

  let rest = isHost ? path.slice(slash + 1) : path;
  if (host === DEFAULT_HOST && !rest.includes('/')) rest = `library/${rest}`;
  if (rest !== rest.toLowerCase()) throw bad('must be lower case');
  if (!rest.split('/').every((component) => COMPONENT.test(component))) {
    throw bad('has a name of other than lower-case letters, digits and single separators');
  }
  return { repository: `${host}/${rest}`, tag, digest };
}

/** The name a reference claims: with registry and tag, `docker.io/library/busybox:latest`. */
export function normalizeName(text: string): string {
  const { repository, tag } = parseReference(text);
  return `${repository}:${tag || 'latest'}`;
}

/** The short form of a normalised name, as people write it: `busybox:latest`. */
export function familiarName(name: string): string {
  if (!name.startsWith(`${DEFAULT_HOST}/`)) return name;
  const path = name.slice(DEFAULT_HOST.length + 1);
  return path.startsWith('library/') ? path.slice('library/'.length) : path;
}
