import { CraftError } from '@craft-ft/torch';
import type { Output } from '../main.js';

/** `craft quickstart`: makes a small two-task dataset and trains on it. */
export async function quickstartCommand(_argv: readonly string[], _output: Output): Promise<number> {
  throw new CraftError('NOT_IMPLEMENTED', 'quickstart is not part of this build');
}
