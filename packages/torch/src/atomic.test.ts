import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { craftError } from '../test/craft-error.js';
import { temporaryFolder } from '../test/safetensors.js';
import {
  atomicSymlink,
  atomicWrite,
  atomicWriteFile,
  placeFolder,
  recoverFolder,
  recoverFolders,
  replaceFolder,
  StagedFile,
  writeFully,
} from './atomic.js';
import { writeSafetensors } from './safetensors/write.js';

/** How the file system behaves: bytes taken per call, and the call at which it fails. */
const disk = vi.hoisted(() => ({
  perCall: Number.POSITIVE_INFINITY,
  fail: undefined as { call: string; code: string; after: number } | undefined,
  /** Renames and removals of folders until the process dies: from then on nothing reaches the disk. */
  lifetime: Number.POSITIVE_INFINITY,
}));

vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>();
  const failing = (call: string) => {
    if (disk.fail?.call !== call || disk.fail.after-- > 0) return;
    const { code } = disk.fail;
    disk.fail = undefined;
    throw Object.assign(new Error(`${code}: from the test`), { code, syscall: call });
  };
  const dies = () => {
    if (disk.lifetime-- <= 0) throw new Error('dead');
  };
  return {
    ...fs,
    rmSync: (path: string, options: object) => {
      if (fs.existsSync(path) && fs.statSync(path).isDirectory()) {
        dies();
        // The process may die between two of its files.
        const [first] = fs.readdirSync(path);
        if (first !== undefined) fs.rmSync(`${path}/${first}`, { recursive: true });
        dies();
      }
      fs.rmSync(path, options);
    },
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
      dies();
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
  disk.lifetime = Number.POSITIVE_INFINITY;
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

describe('folders', () => {
  const make = (name: string, content: string) => {
    mkdirSync(join(folder, name), { recursive: true });
    for (const file of ['a', 'b', 'c']) writeFileSync(join(folder, name, file), content);
    return join(folder, name);
  };
  /** What all three files say; fails where one is missing or they differ. */
  const contentOf = (name: string) => {
    const texts = ['a', 'b', 'c'].map((file) => readFileSync(join(folder, name, file), 'utf8'));
    expect(new Set(texts).size).toBe(1);
    return texts[0];
  };

  it('replace one another, and nothing else is left', () => {
    const from = make('.unfinished', 'new');
    replaceFolder(from, join(folder, '000500'));
    expect(contentOf('000500')).toBe('new');
    replaceFolder(make('.unfinished', 'newer'), join(folder, '000500'));
    expect(contentOf('000500')).toBe('newer');
    expect(readdirSync(folder)).toEqual(['000500']);
  });

  it('survive death at any point of a swap, and of the recovery after it', () => {
    const to = join(folder, '000500');
    const outcomes = new Set<string>();
    for (let lifetime = 0; lifetime < 6; lifetime++) {
      for (let second = 0; second < 6; second++) {
        make('000500', 'old');
        const from = make('.unfinished', 'new');
        disk.lifetime = lifetime;
        let completed = true;
        try {
          replaceFolder(from, to);
        } catch {
          completed = false;
        }
        // The unfinished folder may be deleted at the next start: what is complete must be elsewhere.
        disk.lifetime = second;
        try {
          recoverFolders(folder);
        } catch {}
        disk.lifetime = Number.POSITIVE_INFINITY;
        recoverFolders(folder);
        const found = contentOf('000500');
        outcomes.add(`${lifetime}: ${found}`);
        if (completed) expect(found).toBe('new');
        expect(readdirSync(folder).filter((name) => name !== '000500' && name !== '.unfinished')).toEqual([]);
      }
    }
    expect([...outcomes]).toEqual(['0: old', '1: new', '2: new', '3: new', '4: new', '5: new']);
  });

  it('stay where they were when the file system refuses', () => {
    const to = make('000500', 'old');
    for (let after = 0; after < 3; after++) {
      const from = make('.unfinished', 'new');
      disk.fail = { call: 'rename', code: 'EACCES', after };
      const error = craftError(() => replaceFolder(from, to));
      expect(error.message).toBe(`${to}: cannot be written: permission denied`);
      disk.fail = undefined;
      expect([contentOf('000500'), contentOf('.unfinished')]).toEqual(['old', 'new']);
      expect(readdirSync(folder).sort()).toEqual(['.unfinished', '000500']);
    }
  });

  it('the old one comes back where somebody has removed the new one by hand', () => {
    make('.000500.swap-old', 'old');
    recoverFolder(join(folder, '000500'));
    expect(contentOf('000500')).toBe('old');
    recoverFolders(join(folder, 'absent'));
  });

  it('are placed only where nothing is', () => {
    const to = join(folder, 'data');
    mkdirSync(to);
    placeFolder(make('.partial', 'new'), to);
    expect(contentOf('data')).toBe('new');
    const error = craftError(() => placeFolder(make('.partial', 'other'), to));
    expect([error.code, error.message]).toEqual([
      'WRITE_FAILED',
      `${to}: something is there already; choose another folder`,
    ]);
    expect([contentOf('data'), contentOf('.partial')]).toEqual(['new', 'other']);
  });

  it('links point elsewhere in one step', () => {
    const link = join(folder, 'last');
    atomicSymlink('000500', link);
    atomicSymlink('001000', link);
    expect(readlinkSync(link)).toBe('001000');
    disk.fail = { call: 'rename', code: 'ENOSPC', after: 0 };
    expect(craftError(() => atomicSymlink('x', link)).code).toBe('DISK_FULL');
    expect([readdirSync(folder), existsSync(join(folder, 'x'))]).toEqual([['last'], false]);
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
