import { existsSync } from 'node:fs';
import { CraftError, safetensors, type Tensor } from '@craft-ft/torch';
import type { PolicyConfig } from '../registry.js';
import { ownStats, type StatTensors } from './stats.js';

const LEGACY = /^(normalize_inputs|normalize_targets|unnormalize_outputs|unnormalize_inputs)\./;

/** Whether a tensor of a `model.safetensors` is a statistic, as LeRobot stored them there before 0.4. */
export function isLegacyStat(name: string): boolean {
  return LEGACY.test(name);
}

/**
 * Statistics inside a `model.safetensors` of LeRobot before 0.4, where `observation.state` is called
 * `normalize_inputs.buffer_observation_state`.
 *
 * @returns null where the file is absent or holds none
 * @throws CraftError `NORMALIZER_STATS_INVALID` for statistics of several datasets in one file, which need a choice
 */
export function legacyStats(
  path: string,
  config: Pick<PolicyConfig, 'input_features' | 'output_features'>,
): StatTensors | null {
  if (!existsSync(path)) return null;
  using file = safetensors.open(path);
  const names = file.names.filter(isLegacyStat);
  if (names.length === 0) return null;
  const other = names.find((name) => !name.split('.')[1]!.startsWith('buffer_'));
  if (other !== undefined) {
    const message = `${path}: "${other}" belongs to one of several datasets; save the policy with statistics of one first`;
    throw new CraftError('NORMALIZER_STATS_INVALID', message);
  }
  const found = new Map<string, Tensor>();
  for (const feature of Object.keys({ ...config.input_features, ...config.output_features })) {
    const buffer = `buffer_${feature.replaceAll('.', '_')}`;
    for (const name of names) {
      const [, owner, statistic] = name.split('.');
      const key = `${feature}.${statistic}`;
      if (owner === buffer && !found.has(key)) found.set(key, file.get(name));
    }
  }
  return ownStats(found);
}
