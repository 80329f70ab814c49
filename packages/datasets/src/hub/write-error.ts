import { CraftError } from '@craft-ft/torch/errors';
import { errnoCode } from './errno.js';

/** A failed write of `path` as `DISK_FULL` or `WRITE_FAILED`; other errors pass unchanged. */
export function explainWriteError(error: unknown, path: string): unknown {
  const code = errnoCode(error);
  if (code === undefined || !(error instanceof Error) || !('syscall' in error)) return error;
  return code === 'ENOSPC' || code === 'EDQUOT'
    ? diskFull(`${path}: no space left on the disk; free some and run again, what was fetched is kept`, error)
    : new CraftError('WRITE_FAILED', `${path}: cannot be written: ${error.message.split('\n')[0]}`, {
        cause: error,
      });
}

export function diskFull(message: string, cause?: unknown): CraftError {
  return new CraftError('DISK_FULL', message, { cause });
}
