import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { CraftError } from '@craft-ft/torch/errors';
import { isPlainObject, type PlainObject } from '../configs/plain.js';
import { type PolicyConfig, parsePolicyConfig } from './registry.js';

/** Where a policy may lie below the folder a user names: the folder itself, a checkpoint, a run. */
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

/**
 * Reads a JSON file that must hold an object.
 *
 * @throws CraftError `CONFIG_UNREADABLE`
 */
export function readJsonObject(file: string): PlainObject {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new CraftError('CONFIG_UNREADABLE', `${file}: ${(error as Error).message}`, { cause: error });
  }
  if (!isPlainObject(value)) throw new CraftError('CONFIG_UNREADABLE', `${file}: expected a JSON object`);
  return value;
}

/** Folder inside a checkpoint for the FAST tokeniser it was trained with, where that is no repository of the Hub. */
export const FAST_TOKENIZER_FOLDER = 'fast_tokenizer';

/**
 * A policy's fields with the FAST tokeniser that lies in its checkpoint, where the folder they name is not here: the checkpoint may
 * have come from another machine.
 *
 * @param dir the checkpoint's folder
 */
export function withOwnTokenizer(policy: PlainObject, dir: string): PlainObject {
  const name = policy.action_tokenizer_name;
  const own = join(dir, FAST_TOKENIZER_FOLDER);
  if (typeof name !== 'string' || existsSync(name) || !existsSync(join(own, 'tokenizer.json'))) return policy;
  return { ...policy, action_tokenizer_name: resolve(own) };
}

/** Reads and checks the `config.json` of a policy folder, checkpoint or run. */
export function readPolicyConfig(path: string): { dir: string; config: PolicyConfig } {
  const dir = findPolicyDir(path);
  const file = join(dir, 'config.json');
  return { dir, config: parsePolicyConfig(withOwnTokenizer(readJsonObject(file), dir), file) };
}
