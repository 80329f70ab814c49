import { join } from 'node:path';
import { findPolicyDir, readJsonObject } from '@craft-ft/datasets/json';
import { type PolicyConfig, parsePolicyConfig, withOwnFiles } from './registry.js';

/** Reads and checks the `config.json` of a policy folder, checkpoint or run. */
export function readPolicyConfig(path: string): { dir: string; config: PolicyConfig } {
  const dir = findPolicyDir(path);
  const file = join(dir, 'config.json');
  return { dir, config: parsePolicyConfig(withOwnFiles(readJsonObject(file), dir), file) };
}
