import { CraftError } from '@craft-ft/torch';

/** The CraftError that `body` throws; any other error passes through, none is a failure. */
export function thrown(body: () => unknown): CraftError {
  try {
    body();
  } catch (error) {
    if (error instanceof CraftError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
