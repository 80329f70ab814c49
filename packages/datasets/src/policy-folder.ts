import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CraftError } from '@craft-ft/torch/errors';

/** Where a policy may be below the folder that the user names: the folder itself, a checkpoint, a run. */
const PLACES = ['.', 'pretrained_model', join('checkpoints', 'last', 'pretrained_model')];

/**
 * The folder that holds `config.json`, for a model folder, a checkpoint or a whole run (its last checkpoint).
 *
 * @throws CraftError `POLICY_NOT_FOUND`
 */
export function findPolicyDir(path: string): string {
  for (const place of PLACES) {
    const file = join(path, place, 'config.json');
    if (existsSync(file)) return dirname(file);
  }
  const remedy = existsSync(path)
    ? 'no config.json in it, in pretrained_model/ or in checkpoints/last/; is this a policy?'
    : 'no such folder; a policy on the Hugging Face Hub is named user/name';
  throw new CraftError('POLICY_NOT_FOUND', `${path}: ${remedy}`);
}

/** Folder inside a checkpoint for the FAST tokeniser it was trained with, unless that is a repository on the Hub. */
export const FAST_TOKENIZER_FOLDER = 'fast_tokenizer';
