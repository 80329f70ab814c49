import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import {
  FAST_TOKENIZER_FOLDER,
  findPolicyDir,
  type PlainObject,
  readJsonObject,
} from '@craft-ft/datasets/json';
import { type PolicyConfig, parsePolicyConfig } from './registry.js';

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
