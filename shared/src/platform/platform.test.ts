import { describe, expect, test } from 'vitest';
import { hostPlatform, parsePlatform, platformFit, platformOfConfig, platformText } from './platform.js';

describe('--platform', () => {
  const host = hostPlatform().architecture;

  test.each([
    ['', `linux/${host}`],
    ['linux', `linux/${host}`],
    ['linux/x86_64', 'linux/amd64'],
    ['Linux/AArch64', 'linux/arm64'],
    ['arm64', 'linux/arm64'],
    ['armhf', 'linux/arm'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/arm/v6', 'linux/arm/v6'],
    ['windows/amd64', 'windows/amd64'],
  ])('%j is %s', (text, expected) => {
    expect(platformText(parsePlatform(text))).toBe(expected);
  });

  test.each([
    ['a/b/c/d', '"a/b/c/d": cannot parse platform specifier: invalid argument'],
    ['linux/a b', '"a b" is an invalid component of "linux/a b": platform specifier component must match'],
    ['linux/', '"" is an invalid component of "linux/"'],
    ['nonsense', '"nonsense": unknown operating system or architecture: invalid argument'],
  ])('%j is none', (text, message) => {
    expect(() => parsePlatform(text)).toThrow(message);
  });
});

test('an older ARM runs on a newer one, and nothing on another processor', () => {
  const [v7, v6, amd64] = ['linux/arm/v7', 'linux/arm/v6', 'linux/amd64'].map(parsePlatform);

  expect(platformFit(v7!, v6!)).toBeGreaterThan(0);
  expect(platformFit(v6!, v7!)).toBe(0);
  expect(platformFit(amd64!, v7!)).toBe(0);
});

test.each([
  [
    { architecture: 'arm', os: 'linux', variant: 'v7' },
    { architecture: 'arm', os: 'linux', variant: 'v7' },
  ],
  [{ architecture: 'amd64' }, { architecture: 'amd64', os: 'linux', variant: '' }],
  [{ os: 'linux' }, undefined],
  [{ architecture: 7, os: ['linux'] }, undefined],
  [null, undefined],
])("an image's configuration %j is for %j", (config, platform) => {
  expect(platformOfConfig(Buffer.from(JSON.stringify(config)))).toEqual(platform);
});
