import { mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoCode } from './errno.js';
import { workFolder } from './record.js';
import { explainWriteError } from './write-error.js';

const LOOK_EVERY_MS = 100;
const BEAT_EVERY_MS = 5000;
/** A lock whose holder has not touched it for this long is left behind, on whatever machine that was. */
const STALE_MS = 60_000;

/**
 * Runs `action` while no other process downloads into the same folder; the processes of one training run all ask for the same
 * dataset at once. A lock whose process has died is taken over.
 */
export async function whileLocked<T>(root: string, onWait: () => void, action: () => Promise<T>): Promise<T> {
  const path = join(workFolder(root), 'lock');
  for (let waited = 0; !take(path); waited++) {
    if (waited === 0) onWait();
    await sleep(LOOK_EVERY_MS);
  }
  const heart = setInterval(() => beat(path), BEAT_EVERY_MS);
  try {
    return await action();
  } finally {
    clearInterval(heart);
    rmSync(path, { force: true });
  }
}

function beat(path: string): void {
  try {
    utimesSync(path, new Date(), new Date());
  } catch {
    // Gone with its folder: whoever removed that has no use for the download either.
  }
}

function take(path: string): boolean {
  if (create(path)) return true;
  if (!isAbandoned(path)) return false;
  // Of those who see that, one removes it, after another look: it could already be someone's new lock.
  const breaking = `${path}.breaking`;
  if (!create(breaking)) {
    if (isAbandoned(breaking)) rmSync(breaking, { force: true });
    return false;
  }
  if (isAbandoned(path)) rmSync(path, { force: true });
  rmSync(breaking, { force: true });
  return create(path);
}

function create(path: string): boolean {
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, JSON.stringify({ pid: process.pid, host: hostname() }), { flag: 'wx' });
    return true;
  } catch (error) {
    if (errnoCode(error) === 'EEXIST') return false;
    throw explainWriteError(error, path);
  }
}

function isAbandoned(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return false;
  if (Date.now() - stat.mtimeMs > STALE_MS) return true;
  try {
    const { pid, host } = JSON.parse(readFileSync(path, 'utf8')) as { pid: number; host: string };
    return host === hostname() && !isAlive(pid);
  } catch {
    // Being written this moment, or removed.
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
