import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { CraftError } from '@craft-ft/torch';
import { firstLine } from './files.js';

/** The name a file is written under until it is complete: hidden, in the same folder. */
export function temporaryPath(path: string): string {
  return join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
}

/** Creates the folder of `path`. */
export function makeFolderOf(path: string): void {
  guard(path, () => mkdirSync(dirname(path), { recursive: true }));
}

/** Gives a complete temporary file its name. */
export function publish(path: string): void {
  guard(path, () => renameSync(temporaryPath(path), path));
}

/** Writes a file all or nothing: a reader, or a crash at any moment, sees no half of it. */
export function writeAtomically(path: string, content: string | Uint8Array): void {
  makeFolderOf(path);
  guard(path, () => writeFileSync(temporaryPath(path), content));
  publish(path);
}

/**
 * Runs a step of writing `path`; on failure the temporary file is removed.
 *
 * @throws CraftError `DATASET_WRITE` naming the file.
 */
export function guard<T>(path: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    rmSync(temporaryPath(path), { force: true });
    if (error instanceof CraftError) throw error;
    throw new CraftError('DATASET_WRITE', `${path}: cannot be written: ${firstLine(error)}`, {
      cause: error,
    });
  }
}
