import { randomUUID } from 'node:crypto';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoCode, explainWriteError } from './errors.js';
import { workFolder } from './record.js';

const LOOK_EVERY_MS = 100;
const BEAT_EVERY_MS = 5000;
/** A lock that its holder has not touched for this long counts as abandoned, on whatever machine it was taken. */
const STALE_MS = 60_000;

/**
 * Runs `action` while no other process downloads into the same folder; all processes of one training run request the same dataset at once.
 *
 * The lock is the folder `.cache/craft/locked` with one file in it, whose name is unique to its holder. The holder touches the file every
 * few seconds; a lock whose process has died, or stalled for a minute, is taken over. Nobody can remove another's lock by mistake: a holder
 * deletes only its own file, and a folder that contains a file can be neither removed nor replaced.
 *
 * @param onWait Called before each wait for another process.
 * @param action Its signal is aborted if the lock was taken over after a stall. The action should then stop; it runs again once the lock is
 * free, so it must be able to continue from what is there.
 */
export async function whileLocked<T>(
  root: string,
  onWait: () => void,
  action: (lost: AbortSignal) => Promise<T>,
): Promise<T> {
  const folder = join(workFolder(root), 'locked');
  for (;;) {
    const lock = await acquire(folder, onWait);
    const lost = new AbortController();
    const heartbeat = setInterval(() => {
      if (!touch(lock)) lost.abort();
    }, BEAT_EVERY_MS);
    try {
      return await action(lost.signal);
    } catch (error) {
      if (!lost.signal.aborted) throw error;
    } finally {
      clearInterval(heartbeat);
      rmSync(lock, { force: true });
      removeIfEmpty(folder);
    }
  }
}

/** @returns the holder's file. */
async function acquire(folder: string, onWait: () => void): Promise<string> {
  const name = randomUUID();
  for (let waited = 0; !take(folder, name); waited++) {
    if (waited === 0) onWait();
    await sleep(LOOK_EVERY_MS);
  }
  return join(folder, name);
}

function take(folder: string, name: string): boolean {
  for (const holder of list(folder)) {
    const path = join(folder, holder);
    if (!isAbandoned(path)) return false;
    rmSync(path, { force: true });
  }
  // Windows cannot rename a folder onto another one, not even an empty one.
  removeIfEmpty(folder);
  const prepared = `${folder}-${name}`;
  try {
    mkdirSync(prepared, { recursive: true });
    writeFileSync(join(prepared, name), JSON.stringify({ pid: process.pid, host: hostname() }));
    renameSync(prepared, folder);
    return true;
  } catch (error) {
    removeQuietly(prepared);
    if (isTaken(error)) return false;
    throw explainWriteError(error, folder);
  }
}

/** Whether renaming failed because another process was faster. */
function isTaken(error: unknown): boolean {
  const code = errnoCode(error) ?? '';
  return ['ENOTEMPTY', 'EEXIST'].includes(code) || (process.platform === 'win32' && code === 'EPERM');
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Cleans up after a failure; a second failure here must not hide the first. */
function removeQuietly(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch {}
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // It does not exist, or it is someone else's lock.
  }
}

/** Marks a lock as in use. False if it has been taken over. */
function touch(lock: string): boolean {
  try {
    utimesSync(lock, new Date(), new Date());
    return true;
  } catch (error) {
    return errnoCode(error) !== 'ENOENT';
  }
}

function isAbandoned(lock: string): boolean {
  const stat = statSync(lock, { throwIfNoEntry: false });
  if (stat === undefined) return false;
  if (Date.now() - stat.mtimeMs > STALE_MS) return true;
  try {
    const { pid, host } = JSON.parse(readFileSync(lock, 'utf8')) as { pid: number; host: string };
    return host === hostname() && !isAlive(pid);
  } catch {
    // It was released just now.
    return false;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoCode(error) === 'EPERM';
  }
}
