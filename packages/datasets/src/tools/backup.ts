import { constants, copyFileSync, existsSync } from 'node:fs';
import { atomicWriteFile, explainWriteError } from '@craft-ft/torch';

/**
 * Replaces a file, all or nothing, keeping the original as `<path>.bak` (`.bak.2` and so on when that exists).
 *
 * @returns the name of the copy; undefined when there was no file.
 * @throws CraftError `DISK_FULL`, `WRITE_FAILED`.
 */
export function replaceFile(path: string, content: string | Uint8Array): string | undefined {
  const copy = existsSync(path) ? keepOriginal(path) : undefined;
  atomicWriteFile(path, content);
  return copy;
}

/** Copies a file that is about to be replaced; never over another copy. */
export function keepOriginal(path: string): string {
  for (let n = 1; ; n++) {
    const copy = n === 1 ? `${path}.bak` : `${path}.bak.${n}`;
    try {
      copyFileSync(path, copy, constants.COPYFILE_EXCL);
      return copy;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw explainWriteError(error, copy);
    }
  }
}
