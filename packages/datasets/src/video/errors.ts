import { statSync } from 'node:fs';
import { CraftError } from '@craft-ft/torch/errors';

/** The error for a video that is there and cannot be used. */
export function invalidVideo(path: string, what: string, cause?: unknown): CraftError {
  return new CraftError('VIDEO_INVALID', `${path}: ${what}; download or record the file again`, { cause });
}

/** Size and time of change of a file: they tell whether it is still the same. */
export interface FileStamp {
  readonly size: number;
  readonly mtimeMs: number;
}

/**
 * @throws CraftError `VIDEO_MISSING` when there is no such file, `VIDEO_INVALID` when it is no file or empty.
 */
export function stampVideo(path: string): FileStamp {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) {
    throw new CraftError(
      'VIDEO_MISSING',
      `${path}: the video is missing; download it, or leave its camera out of the policy's input`,
    );
  }
  if (!stat.isFile()) throw invalidVideo(path, 'is not a file');
  if (stat.size === 0) throw invalidVideo(path, 'the file is empty');
  return { size: stat.size, mtimeMs: stat.mtimeMs };
}
