import { CraftError } from '@craft-ft/torch';
import type { TrainRequest } from './load-config.js';

/**
 * Runs a training and returns the exit code of the process: 0 when it is complete, 130 when it was interrupted and saved.
 */
export async function runTrain(_request: TrainRequest): Promise<number> {
  throw new CraftError('NOT_IMPLEMENTED', 'training is not part of this build');
}
