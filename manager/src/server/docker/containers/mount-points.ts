import type { Container } from '@tessera/shared/model';

/** A container's mounts as lists and inspect show them. A tmpfs of `--tmpfs` is in its HostConfig alone, as with Docker. */
export function mountPoints({ spec }: Container): readonly object[] {
  return (spec?.mounts ?? [])
    .filter(({ type }) => type !== 'tmpfs')
    .map(({ type, source, target, readOnly, propagation }) => ({
      Type: type,
      Source: source,
      Destination: target,
      Mode: readOnly ? 'ro' : '',
      RW: !readOnly,
      Propagation: propagation || 'rprivate',
    }));
}
