import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { writtenBytes } from './written-size.js';

const { signal } = new AbortController();

function aDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'ts-size-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  return dir;
}

test('what a container has written is counted once each, as du counts it, and nothing behind a link', async () => {
  const outside = aDirectory();
  writeFileSync(join(outside, 'large'), Buffer.alloc(1 << 20, 1));
  const upper = join(aDirectory(), 'upper');
  mkdirSync(join(upper, 'a/b/c'), { recursive: true });
  writeFileSync(join(upper, 'a/b/c/file'), Buffer.alloc(100_000, 1));
  linkSync(join(upper, 'a/b/c/file'), join(upper, 'same'));
  symlinkSync(outside, join(upper, 'a/out'));

  const du = Number(execFileSync('du', ['-s', '--block-size=1', upper]).toString().split('\t')[0]);
  const ofTop = Number(execFileSync('stat', ['-c', '%b', upper]).toString()) * 512;
  expect(await writtenBytes(upper, signal)).toBe(du - ofTop);
});

test('a container that has written nothing, or is gone, has written nothing', async () => {
  expect(await writtenBytes(join(aDirectory(), 'upper'), signal)).toBe(0);
});
