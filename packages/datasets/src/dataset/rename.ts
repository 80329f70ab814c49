import { CraftError } from '@craft-ft/torch';
import type { FeatureInfo } from './info.js';
import { isBookkeeping } from './info.js';

/** Dataset key → policy key, as LeRobot's `--rename_map`, e.g. `{"state": "observation.state"}`. */
export type RenameMap = Readonly<Record<string, string>>;

/**
 * The policy key of every feature of a dataset: the mapped name, or its own.
 *
 * @throws CraftError `DATASET_RENAME` when a mapped key does not exist or is one LeRobot keeps itself, or when two features
 * would get the same name.
 */
export function policyKeys(
  root: string,
  features: Readonly<Record<string, FeatureInfo>>,
  renameMap: RenameMap = {},
): Map<string, string> {
  for (const [from, to] of Object.entries(renameMap)) {
    if (features[from] === undefined) {
      const known = Object.keys(features).filter((key) => !isBookkeeping(key));
      throw renameError(root, `the dataset has no feature "${from}"; it has ${known.join(', ')}`);
    }
    if (isBookkeeping(from) || isBookkeeping(to)) {
      throw renameError(root, `"${from}" → "${to}": ${isBookkeeping(from) ? from : to} is a reserved column`);
    }
    if (to === '') throw renameError(root, `"${from}" is mapped to an empty name`);
  }
  const names = new Map<string, string>();
  const taken = new Map<string, string>();
  for (const key of Object.keys(features)) {
    const name = renameMap[key] ?? key;
    const other = taken.get(name);
    if (other !== undefined)
      throw renameError(root, `"${other}" and "${key}" would both be called "${name}"`);
    taken.set(name, key);
    names.set(key, name);
  }
  return names;
}

function renameError(root: string, what: string): CraftError {
  return new CraftError('DATASET_RENAME', `rename_map of ${root}: ${what}`);
}
