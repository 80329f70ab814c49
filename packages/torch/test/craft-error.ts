import { CraftError } from '../src/errors.js';

/** The CraftError that `run` throws; any other error passes through, none is a failure. */
export function craftError(run: () => unknown): CraftError {
  try {
    run();
  } catch (error) {
    if (error instanceof CraftError) return error;
    throw error;
  }
  throw new Error('expected a CraftError, nothing was thrown');
}
