import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { CraftError, errnoCode } from './errors.js';

/** The kernel writes at most 2 GiB in one call; 1 GiB stays clear of that everywhere. */
const MAX_WRITE = 2 ** 30;

/** Appends all of `bytes` to an open file, however many calls that takes. */
export function writeFully(fd: number, bytes: Uint8Array): void {
  let done = 0;
  while (done < bytes.byteLength) {
    done += writeSync(fd, bytes, done, Math.min(bytes.byteLength - done, MAX_WRITE));
  }
}

/**
 * A file being written: created under a temporary name in the same folder, then given its own name by `commit`.
 *
 * Several files that belong together are all written first and committed afterwards, so that a full disk is noticed before any of them
 * changes.
 */
export class StagedFile {
  readonly path: string;
  /** Where the content is until `commit`; a writer that needs a path instead of a descriptor writes here. */
  readonly temporary: string;

  /** Creates nothing yet. */
  constructor(path: string) {
    this.path = path;
    this.temporary = join(dirname(path), `.tmp-${process.pid}-${randomBytes(6).toString('hex')}`);
  }

  /**
   * Creates the temporary file, lets `fill` write it and flushes it to disk. On failure it is removed.
   *
   * @throws CraftError `DISK_FULL` when no space (or quota) is left, `WRITE_FAILED` when the file system refuses otherwise.
   * An error thrown by `fill` itself passes through unchanged.
   */
  write(fill: (fd: number) => void): this {
    return this.#flushed('wx', fill);
  }

  /** Flushes a temporary file that something else has written. @throws as `write`. */
  flush(): this {
    return this.#flushed('r+', () => {});
  }

  #flushed(flags: 'wx' | 'r+', fill: (fd: number) => void): this {
    let fd: number | undefined;
    try {
      fd = openSync(this.temporary, flags);
      fill(fd);
      fsyncSync(fd);
      const open = fd;
      fd = undefined;
      closeSync(open);
    } catch (error) {
      discard(fd, this.temporary);
      throw explainWriteError(error, this.path);
    }
    return this;
  }

  /** Gives the file its name. What was there keeps its permissions; a symbolic link is replaced. @throws as `write`. */
  commit(): void {
    try {
      const existing = statSync(this.path, { throwIfNoEntry: false });
      if (existing !== undefined) chmodSync(this.temporary, existing.mode & 0o7777);
      renameSync(this.temporary, this.path);
    } catch (error) {
      discard(undefined, this.temporary);
      throw explainWriteError(error, this.path);
    }
    syncFolder(dirname(this.path));
  }

  /** Removes the temporary file, if there is one. */
  discard(): void {
    discard(undefined, this.temporary);
  }
}

/**
 * Writes a file so that a reader, or a crash at any moment, sees either the old content or the whole new one.
 *
 * `fill` writes into a temporary file in the same folder, which is then flushed to disk and renamed over `path`. When
 * anything fails, the temporary file is removed and what was at `path` stays as it was. The permissions of an existing file
 * are kept; a symbolic link is replaced, not followed.
 *
 * @throws CraftError `DISK_FULL` when no space (or quota) is left, `WRITE_FAILED` when the file system refuses otherwise.
 * An error thrown by `fill` itself passes through unchanged.
 */
export function atomicWrite(path: string, fill: (fd: number) => void): void {
  new StagedFile(path).write(fill).commit();
}

/**
 * Writes text (as UTF-8) or bytes to `path`, all or nothing; see {@link atomicWrite}.
 *
 * @throws CraftError `DISK_FULL`, `WRITE_FAILED`.
 *
 * @example
 * ```ts
 * atomicWriteFile('run/config.json', `${JSON.stringify(config, null, 2)}\n`);
 * ```
 */
export function atomicWriteFile(path: string, content: string | Uint8Array): void {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
  atomicWrite(path, (fd) => writeFully(fd, bytes));
}

/** Points a symbolic link at `target`, atomically replacing an existing link. @throws CraftError as `atomicWriteFile` */
export function atomicSymlink(target: string, path: string): void {
  const staged = new StagedFile(path);
  try {
    symlinkSync(target, staged.temporary);
    renameSync(staged.temporary, path);
  } catch (error) {
    staged.discard();
    throw explainWriteError(error, path);
  }
  syncFolder(dirname(path));
}

/** Creates a folder and its missing parents. @throws CraftError `DISK_FULL`, `WRITE_FAILED` */
export function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    const code = errnoCode(error);
    if (code === undefined || code === 'ENOSPC' || code === 'EDQUOT') throw explainWriteError(error, path);
    const reason = reasons[code] ?? code;
    throw new CraftError(
      'WRITE_FAILED',
      `${path}: the folder cannot be made: ${reason}; choose another one`,
      {
        cause: error,
      },
    );
  }
}

/**
 * Gives a folder that was written under another name its own, in one step. An empty folder there is replaced.
 *
 * @param from a complete folder beside `to`
 * @throws CraftError WRITE_FAILED where `to` holds anything (nothing is changed then) or the file system refuses otherwise
 */
export function placeFolder(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    const taken = errnoCode(error) === 'ENOTEMPTY' || errnoCode(error) === 'EEXIST';
    if (!taken) throw explainWriteError(error, to);
    throw new CraftError('WRITE_FAILED', `${to}: something is there already; choose another folder`, {
      cause: error,
    });
  }
  syncFolder(dirname(to));
}

// Names during a swap of `NAME`. Only complete folders ever have the first two.
const SWAP = /^\.(.+)\.swap-(?:new|old|gone)$/;
const swapNames = (to: string) => {
  const name = (part: string) => join(dirname(to), `.${basename(to)}.swap-${part}`);
  return { next: name('new'), old: name('old'), gone: name('gone') };
};

/**
 * Replaces a folder with another complete one. Node.js cannot swap two folders atomically, so for a moment there is none at `to`: after a
 * crash, call `recoverFolder` before reading; it finishes the swap. At every point `recoverFolder` can find a complete folder.
 *
 * @param from a complete folder beside `to`, on the same file system
 * @throws CraftError DISK_FULL, WRITE_FAILED; both folders are then where they were
 */
export function replaceFolder(from: string, to: string): void {
  recoverFolder(to);
  const { next, old } = swapNames(to);
  const done: [string, string][] = [];
  const rename = (source: string, target: string) => {
    renameSync(source, target);
    done.push([source, target]);
  };
  try {
    rename(from, next); // from here on, a crash leaves the new one for sure
    if (existsSync(to)) rename(to, old);
    rename(next, to);
  } catch (error) {
    try {
      for (const [source, target] of done.reverse()) renameSync(target, source);
    } catch {} // recoverFolder will end the swap
    throw explainWriteError(error, to);
  }
  syncFolder(dirname(to));
  removeOld(to);
}

/** Finishes a swap in which `replaceFolder(…, to)` was killed: the new folder is at `to` afterwards. @throws CraftError as `replaceFolder` */
export function recoverFolder(to: string): void {
  const { next, old } = swapNames(to);
  try {
    if (existsSync(next)) {
      if (existsSync(to)) {
        removeOld(to);
        renameSync(to, old);
      }
      renameSync(next, to);
      syncFolder(dirname(to));
    } else if (existsSync(old) && !existsSync(to)) {
      renameSync(old, to); // somebody removed the new one by hand
    }
  } catch (error) {
    throw explainWriteError(error, to);
  }
  removeOld(to);
}

/** Calls `recoverFolder` for every interrupted swap in `parent`. */
export function recoverFolders(parent: string): void {
  if (!existsSync(parent)) return;
  const names = readdirSync(parent).flatMap((entry) => SWAP.exec(entry)?.[1] ?? []);
  for (const name of new Set(names)) recoverFolder(join(parent, name));
}

// A folder that is being removed is not complete any more, hence under another name. What cannot be removed now is removed by the
// next call; the swap has succeeded all the same.
function removeOld(to: string): void {
  const { old, gone } = swapNames(to);
  try {
    rmSync(gone, { recursive: true, force: true });
    if (!existsSync(old)) return;
    renameSync(old, gone);
    rmSync(gone, { recursive: true, force: true });
  } catch {}
}

/** Cleans up after a failure; a second failure here must not hide the first. */
function discard(fd: number | undefined, temporary: string): void {
  try {
    if (fd !== undefined) closeSync(fd);
  } catch {}
  try {
    rmSync(temporary, { force: true });
  } catch {}
}

/** Turns a file-system error into the CraftError for `path`; returns any other error unchanged. */
export function explainWriteError(error: unknown, path: string): unknown {
  const code = errnoCode(error);
  if (code === undefined) return error;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const message = `${path}: no space left on the disk; nothing was changed, free some space and try again`;
    return new CraftError('DISK_FULL', message, { cause: error });
  }
  const reason = reasons[code] ?? code;
  return new CraftError('WRITE_FAILED', `${path}: cannot be written: ${reason}`, { cause: error });
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'its folder does not exist',
  ENOTDIR: 'something above it is not a folder',
  EISDIR: 'it is a folder',
  EEXIST: 'it is a file',
  EXDEV: 'it is on another file system',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
};

/** Makes the rename itself survive a power failure, where the platform lets a folder be flushed. */
function syncFolder(folder: string): void {
  try {
    const fd = openSync(folder, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch {}
}
