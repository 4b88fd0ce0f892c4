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

const COMPONENT = /^[A-Za-z0-9_.-]+$/;
/** What stands for itself, in `--platform linux` and `--platform arm64`. Source: containerd platforms/database.go. */
const KNOWN_SYSTEMS: ReadonlySet<string> = new Set(
  'aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris windows zos'.split(
    ' ',
  ),
);
const KNOWN_ARCHITECTURES: ReadonlySet<string> = new Set([
  ...Object.keys(ALIASES),
  ...['386', 'amd64', 'arm', 'arm64', 'loong64', 'mips', 'mipsle', 'mips64', 'mips64le'],
  ...['ppc', 'ppc64', 'ppc64le', 'riscv', 'riscv64', 's390', 's390x', 'sparc64', 'wasm'],
]);

/** This host's. */
export const hostPlatform = (): Platform => ({
  os: 'linux',
  architecture: ARCHITECTURES[process.arch] ?? process.arch,
  variant: '',
});

/** What an image's configuration says that it is for; undefined when it is silent. */
export function platformOfConfig(config: Uint8Array): Platform | undefined {
  try {
    const { os, architecture, variant } = JSON.parse(Buffer.from(config).toString()) as Record<
      string,
      unknown
    >;
    if (typeof architecture !== 'string' || architecture === '') return undefined;
    return { os: textOf(os) || 'linux', architecture, variant: textOf(variant) };
  } catch {
    // Not for us to judge: whoever unpacks it will say what is wrong with it.
    return undefined;
  }
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/**
 * `OS[/ARCH[/VARIANT]]` or `ARCH`, as `--platform` has it; empty: this host's.
 *
 * @throws ClusterError `invalidArgument`, in Docker's words
 * Source: containerd platforms/platforms.go, Parse
 */
export function parsePlatform(text: string): Platform {
  if (text === '') return hostPlatform();
  const parts = text.toLowerCase().split('/');
  if (parts.length > 3) throw invalid(`"${text}": cannot parse platform specifier: invalid argument`);
  const wrong = parts.find((part) => !COMPONENT.test(part));
  if (wrong !== undefined)
    throw invalid(
      `"${wrong}" is an invalid component of "${text}": platform specifier component must match "${COMPONENT.source}": invalid argument`,
    );
  const [first = '', ...rest] = parts;
  if (rest.length === 0 && !KNOWN_SYSTEMS.has(first)) {
    if (KNOWN_ARCHITECTURES.has(first)) return parsePlatform(`linux/${first}`);
    throw invalid(`"${text}": unknown operating system or architecture: invalid argument`);
  }
  const [architecture = hostPlatform().architecture, variant = ''] = rest;
  return {
    os: first,
    architecture: ALIASES[architecture] ?? architecture,
    variant: variant === defaultVariant(architecture) ? '' : variant,
  };
}

export const platformText = ({ os, architecture, variant }: Platform): string =>
  [os, architecture, ...(variant ? [variant] : [])].join('/');

/** As `/distribution` shows it. */
export const platformJson = ({ os, architecture, variant }: Platform) => ({
  architecture,
  os,
  ...(variant ? { variant } : {}),
});

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
