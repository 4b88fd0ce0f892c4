import type { Container } from '@tessera/shared/model';
import type { View } from '../../../store/view.js';
import { imageConfig } from '../image-json.js';

/** The parts of an image's configuration that a container takes over. Source: OCI image spec, config.md. */
interface ImageDefaults {
  readonly Env?: readonly string[] | null;
  readonly Cmd?: readonly string[] | null;
  readonly Entrypoint?: readonly string[] | null;
  readonly WorkingDir?: string | null;
  readonly User?: string | null;
  readonly Labels?: Readonly<Record<string, string>> | null;
  readonly ExposedPorts?: Readonly<Record<string, unknown>> | null;
  readonly StopSignal?: string | null;
  readonly Volumes?: Readonly<Record<string, unknown>> | null;
}

/** What a container runs with: what its user said over what its image says. */
export interface EffectiveConfig {
  readonly image: string;
  readonly imageId: string;
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly env: readonly string[];
  readonly dir: string;
  readonly user: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly exposedPorts: readonly string[];
  readonly stopSignal: string;
  /** Where it was to have volumes of no name. */
  readonly volumes: readonly string[];
}

/** Source: moby daemon/commit.go, merge. An image that is gone leaves what the user said. */
export function effectiveConfig(view: View, container: Container): EffectiveConfig {
  const spec = container.spec!;
  const image = view.images.get(spec.imageDigest);
  const defaults = (image ? (imageConfig(image).config ?? {}) : {}) as ImageDefaults;
  const hasCommand = spec.command.length > 0 || spec.args.length > 0;
  return {
    image: spec.image,
    imageId: image?.configDigest ?? spec.imageDigest,
    // One empty word takes the image's away, and leaves none.
    entrypoint: (spec.command.length > 0 ? spec.command : (defaults.Entrypoint ?? [])).filter(
      (word, index) => index > 0 || word !== '',
    ),
    command: hasCommand ? spec.args : (defaults.Cmd ?? []),
    env: mergeEnv(defaults.Env ?? [], spec.env),
    dir: spec.dir || (defaults.WorkingDir ?? ''),
    user: spec.user || (defaults.User ?? ''),
    labels: { ...defaults.Labels, ...spec.labels },
    exposedPorts: [
      ...new Set([...Object.keys(defaults.ExposedPorts ?? {}), ...container.exposedPorts]),
    ].sort(),
    stopSignal: spec.stopSignal || (defaults.StopSignal ?? ''),
    volumes: [
      ...new Set([
        ...Object.keys(defaults.Volumes ?? {}),
        ...spec.mounts.flatMap(({ origin, target }) => (origin === 'volumes' ? [target] : [])),
      ]),
    ].sort(),
  };
}

function mergeEnv(defaults: readonly string[], own: readonly string[]): string[] {
  const nameOf = (entry: string) => entry.split('=', 1)[0];
  const names = new Set(own.map(nameOf));
  return [...own, ...defaults.filter((entry) => !names.has(nameOf(entry)))];
}

/** What is executed first, and with which arguments. */
export function commandOf({ entrypoint, command }: EffectiveConfig): {
  readonly path: string;
  readonly args: readonly string[];
} {
  const [path = '', ...args] = [...entrypoint.filter((word) => word !== ''), ...command];
  return { path, args };
}
