import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { craftError } from '../test/craft-error.js';
import { temporaryFolder } from '../test/safetensors.js';
import { atomicWrite, atomicWriteFile, StagedFile, writeFully } from './atomic.js';
import { writeSafetensors } from './safetensors/write.js';

/** How the file system behaves: bytes taken per call, and the call at which it fails. */
const disk = vi.hoisted(() => ({
  perCall: Number.POSITIVE_INFINITY,
  fail: undefined as { call: string; code: string; after: number } | undefined,
}));

vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>();
  const failing = (call: string) => {
    if (disk.fail?.call !== call || disk.fail.after-- > 0) return;
    throw Object.assign(new Error(`${disk.fail.code}: from the test`), {
      code: disk.fail.code,
      syscall: call,
    });
  };
  return {
    ...fs,
    writeSync: (fd: number, bytes: Uint8Array, offset: number, length: number) => {
      failing('write');
      return fs.writeSync(fd, bytes, offset, Math.min(length, disk.perCall));
    },
    fsyncSync: (fd: number) => {
      failing('fsync');
      fs.fsyncSync(fd);
    },
    renameSync: (from: string, to: string) => {
      failing('rename');
      fs.renameSync(from, to);
    },
  };
});

const root = temporaryFolder();
let count = 0;
let folder = '';
let path = '';

beforeEach(() => {
  disk.perCall = Number.POSITIVE_INFINITY;
  disk.fail = undefined;
  folder = join(root, String(count++));
  path = join(folder, 'config.json');
  mkdirSync(folder);
});

describe('atomicWriteFile', () => {
  it('writes text and bytes, and replaces what was there', () => {
    atomicWriteFile(path, '动作\n');
    expect(readFileSync(path, 'utf8')).toBe('动作\n');
    atomicWriteFile(path, new Uint8Array([1, 2]));
    expect([...readFileSync(path)]).toEqual([1, 2]);
    expect(readdirSync(folder)).toEqual(['config.json']);
  });

  it('keeps the permissions of the file it replaces', () => {
    writeFileSync(path, 'old');
    chmodSync(path, 0o640);
    atomicWriteFile(path, 'new');
    expect(statSync(path).mode & 0o777).toBe(0o640);
  });

  it('goes on where the kernel takes only part of a write', () => {
    disk.perCall = 3;
    atomicWriteFile(path, 'abcdefgh');
    expect(readFileSync(path, 'utf8')).toBe('abcdefgh');
  });

  it.each([
    ['write', 'ENOSPC', 'DISK_FULL'],
    ['write', 'EDQUOT', 'DISK_FULL'],
    ['fsync', 'ENOSPC', 'DISK_FULL'],
    ['fsync', 'EIO', 'WRITE_FAILED'],
    ['rename', 'EACCES', 'WRITE_FAILED'],
  ])('%s failing with %s throws %s and changes nothing', (call, code, expected) => {
    writeFileSync(path, 'old');
    disk.perCall = 2;
    disk.fail = { call, code, after: call === 'write' ? 1 : 0 };
    const error = craftError(() => atomicWriteFile(path, 'new content'));
    expect(error.code).toBe(expected);
    expect(error.message).toMatch(/^[^\n]*config\.json: [^\n]+$/);
    expect(readFileSync(path, 'utf8')).toBe('old');
    expect(readdirSync(folder)).toEqual(['config.json']);
  });

  it('says why a path cannot be written', () => {
    expect(craftError(() => atomicWriteFile(join(folder, 'no/x'), '')).message).toContain('does not exist');
    expect(craftError(() => atomicWriteFile(folder, '')).message).toContain('it is a folder');
    expect(readdirSync(root).filter((name) => name.startsWith('.tmp'))).toEqual([]);
  });

  it('passes an error of the filler through unchanged, and cleans up', () => {
    const failure = new Error('mine');
    const fill = (fd: number) => {
      writeFully(fd, new Uint8Array(10));
      throw failure;
    };
    expect(() => atomicWrite(path, fill)).toThrow(failure);
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('StagedFile', () => {
  const bytes = new TextEncoder().encode('new');

  it('changes nothing before commit, and nothing at all when discarded', () => {
    writeFileSync(path, 'old');
    const staged = new StagedFile(path).write((fd) => writeFully(fd, bytes));
    expect(readFileSync(path, 'utf8')).toBe('old');
    staged.commit();
    expect(readFileSync(path, 'utf8')).toBe('new');
    new StagedFile(path).write((fd) => writeFully(fd, bytes)).discard();
    new StagedFile(path).discard();
    expect(readdirSync(folder)).toEqual(['config.json']);
  });

  it('takes what something else wrote under the temporary name', () => {
    const staged = new StagedFile(path);
    writeFileSync(staged.temporary, 'theirs');
    staged.flush().commit();
    expect(readFileSync(path, 'utf8')).toBe('theirs');
    expect(craftError(() => new StagedFile(path).flush()).code).toBe('WRITE_FAILED');
  });

  it('removes the temporary file when it cannot be written', () => {
    disk.fail = { call: 'fsync', code: 'ENOSPC', after: 0 };
    const write = () => new StagedFile(path).write((fd) => writeFully(fd, bytes));
    expect(craftError(write).code).toBe('DISK_FULL');
    expect(readdirSync(folder)).toEqual([]);
  });
});

it('a full disk leaves the last good safetensors file in place', () => {
  const target = join(folder, 'model.safetensors');
  const entry = { name: 'a', dtype: 'F32' as const, shape: [4], data: new Uint8Array(16) };
  writeSafetensors(target, [entry]);
  const before = readFileSync(target);
  disk.fail = { call: 'write', code: 'ENOSPC', after: 1 };
  const error = craftError(() => writeSafetensors(target, [entry], { note: 'larger' }));
  expect(error.code).toBe('DISK_FULL');
  expect(error.message).toContain(target);
  expect(Buffer.compare(readFileSync(target), before)).toBe(0);
  expect(readdirSync(folder)).toEqual(['model.safetensors']);
});
