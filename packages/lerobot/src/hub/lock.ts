import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoCode } from './errno.js';
import { workFolder } from './record.js';
import { explainWriteError } from './write-error.js';

const LOOK_EVERY_MS = 100;
/** A lock of another machine, whose processes cannot be asked after, counts as left behind after this long. */
const FOREIGN_STALE_MS = 12 * 60 * 60 * 1000;

/**
 * Runs `action` while no other process downloads into the same folder; the processes of one training run all ask for the same
 * dataset at once. A lock whose process has died is taken over.
 */
export async function whileLocked<T>(
  root: string,
  onWait: () => void,
  action: () => Promise<T>,
): Promise<T> {
  const path = join(workFolder(root), 'lock');
  for (let waited = 0; !take(path); waited++) {
    if (waited === 0) onWait();
    await sleep(LOOK_EVERY_MS);
  }
  try {
    return await action();
  } finally {
    rmSync(path, { force: true });
  }
}

function take(path: string): boolean {
  try {
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, JSON.stringify({ pid: process.pid, host: hostname() }), { flag: 'wx' });
    return true;
  } catch (error) {
    if (errnoCode(error) !== 'EEXIST') throw explainWriteError(error, path);
  }
  if (isAbandoned(path)) rmSync(path, { force: true });
  return false;
}

function isAbandoned(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return false;
  const age = Date.now() - stat.mtimeMs;
  try {
    const { pid, host } = JSON.parse(readFileSync(path, 'utf8')) as { pid: number; host: string };
    return host === hostname() ? !isAlive(pid) : age > FOREIGN_STALE_MS;
  } catch {
    // Being written this moment, or cut off while it was.
    return age > 10_000;
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
