import { invalid } from '../errors/index.js';

/** What a manifest is for. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  /** Such as `v7`; empty for any. */
  readonly variant: string;
}

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  mipsel: 'mipsle',
};
const ALIASES: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  'x86-64': 'amd64',
  aarch64: 'arm64',
  armhf: 'arm',
};

/** This host's. */
export const hostPlatform = (): Platform => ({
  os: 'linux',
  architecture: ARCHITECTURES[process.arch] ?? process.arch,
  variant: '',
});

/**
 * `OS/ARCH[/VARIANT]`, as `--platform` has it; empty: this host's.
 * @throws ClusterError `invalidArgument`
 */
export function parsePlatform(text: string): Platform {
  if (text === '') return hostPlatform();
  const [os = '', architecture = '', variant = '', ...rest] = text.toLowerCase().split('/');
  if (
    rest.length > 0 ||
    ![os, architecture || 'x', variant || 'x'].every((part) => /^[a-z0-9._-]+$/.test(part))
  )
    throw invalid(`"${text}" is an invalid platform: write OS/ARCH[/VARIANT], such as linux/amd64`);
  if (os !== 'linux') throw invalid(`platform ${text}: images are for linux here`);
  return {
    os,
    architecture: ALIASES[architecture] ?? (architecture || hostPlatform().architecture),
    variant: architecture === '' || variant === defaultVariant(architecture) ? '' : variant,
  };
}

export const platformText = ({ os, architecture, variant }: Platform): string =>
  [os, architecture, ...(variant ? [variant] : [])].join('/');

const defaultVariant = (architecture: string): string =>
  ALIASES[architecture] === 'arm64' || architecture === 'arm64' ? 'v8' : architecture === 'arm' ? 'v7' : '';

/**
 * How well `offered` runs where `wanted` is asked for; 0: not at all.
 *
 * Source: containerd platforms: an exact variant is best, then the architecture's usual one, then, for ARM, the
 * newest older one.
 */
export function platformFit(wanted: Platform, offered: Platform): number {
  if (offered.os !== wanted.os || offered.architecture !== wanted.architecture) return 0;
  const usual = defaultVariant(wanted.architecture);
  const variantOf = ({ variant }: Platform) =>
    (wanted.architecture === 'amd64' && variant === 'v1' ? '' : variant) || usual;
  const want = variantOf(wanted);
  const have = variantOf(offered);
  if (want === have) return 100;
  const [wantNumber, haveNumber] = [want, have].map((variant) =>
    Number(/^v(\d+)$/.exec(variant)?.[1] ?? Number.NaN),
  );
  if (wanted.architecture === 'arm' && haveNumber! < wantNumber!) return 50 + haveNumber!;
  // amd64/v2 and later need newer processors than the plain one.
  return 0;
}
