import { CraftError } from '@craft-ft/torch';
import type { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import { isWritable } from '../dataset/parquet-schema.js';

/**
 * Checks that datasets can become one: same fps, robot type and features (key, dtype, shape).
 *
 * @throws CraftError `TOOL_FEATURES` naming both datasets and the key.
 */
export function checkSameFeatures(datasets: readonly LeRobotDatasetMetadata[]): void {
  const [first, ...others] = datasets as [LeRobotDatasetMetadata, ...LeRobotDatasetMetadata[]];
  for (const [key, { dtype }] of Object.entries(first.features)) {
    if (isWritable(dtype)) continue;
    throw new CraftError(
      'TOOL_FEATURES',
      `${first.root}: feature "${key}" has dtype "${dtype}", which is not written; numbers, booleans, texts, pictures and videos are`,
    );
  }
  for (const other of others) {
    const differ = (what: string): CraftError =>
      new CraftError('TOOL_FEATURES', `${other.root}: ${what}; only datasets of the same kind can be merged`);
    if (other.fps !== first.fps) throw differ(`has ${other.fps} fps, ${first.root} has ${first.fps}`);
    if (other.robotType !== first.robotType)
      throw differ(`has robot_type "${other.robotType}", ${first.root} has "${first.robotType}"`);
    for (const key of new Set([...Object.keys(first.features), ...Object.keys(other.features)])) {
      const a = first.features[key];
      const b = other.features[key];
      if (a === undefined) throw differ(`has the feature "${key}", which ${first.root} lacks`);
      if (b === undefined) throw differ(`lacks the feature "${key}" of ${first.root}`);
      const [mine, theirs] = [a, b].map(({ dtype, shape }) => `${dtype} [${shape.join(', ')}]`);
      if (mine !== theirs) throw differ(`"${key}" is ${theirs}, in ${first.root} it is ${mine}`);
    }
  }
}
