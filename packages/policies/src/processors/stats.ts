import { existsSync } from 'node:fs';
import type { DatasetStats } from '@craft-ft/datasets';
import { CraftError, noGrad, safetensors, type Tensor, tensor } from '@craft-ft/torch';
import type { PolicyFeatureFields } from '../config/policy-fields.js';

/** Statistics of features by `<feature>.<statistic>`, float32, as LeRobot's state files hold them. */
export type StatTensors = ReadonlyMap<string, Tensor>;

const STATISTICS = ['min', 'max', 'mean', 'std', 'q01', 'q10', 'q50', 'q90', 'q99'] as const;

/** A dataset's statistics as tensors that belong to no scope; `count` is kept too, as LeRobot does. */
export function statTensors(stats: DatasetStats): StatTensors {
  const tensors = new Map<string, Tensor>();
  for (const [feature, values] of Object.entries(stats)) {
    for (const name of STATISTICS) {
      const data = values[name];
      if (data === undefined) continue;
      tensors.set(`${feature}.${name}`, tensor(Float32Array.from(data), { shape: values.shape }).keep());
    }
    tensors.set(`${feature}.count`, tensor([values.count]).keep());
  }
  return tensors;
}

/** Reads the statistics in a step's state file. @throws CraftError as `safetensors.loadFile` */
export function loadStatTensors(path: string): StatTensors {
  return ownStats(safetensors.loadFile(path));
}

/** Converts statistics to float32 and takes them out of every scope. */
function ownStats(tensors: ReadonlyMap<string, Tensor>): StatTensors {
  return noGrad(
    () =>
      new Map([...tensors].map(([name, values]) => [name, values.to({ dtype: 'float32' }).keep()] as const)),
  );
}

/**
 * Looks up one statistic of a feature and checks it.
 *
 * @param shape the feature's shape; the statistic must broadcast to it (`[3, 1, 1]` to an image's `[3, 480, 640]`)
 * @param where names the file or dataset in messages
 * @throws CraftError `NORMALIZER_STATS_MISSING`, `NORMALIZER_STATS_INVALID` naming feature and statistic
 */
export function requireStat(
  stats: StatTensors,
  feature: string,
  statistic: string,
  shape: readonly number[],
  mode: string,
  where: string,
): Tensor {
  const values = stats.get(`${feature}.${statistic}`);
  if (values === undefined) {
    throw new CraftError(
      'NORMALIZER_STATS_MISSING',
      `${where}: no statistic "${statistic}" of "${feature}", which ${mode} needs; take statistics from a dataset that has it ` +
        '(--normalization_stats=dataset where a policy is trained on), or choose another mode in policy.normalization_mapping',
    );
  }
  const found = values.shape;
  // An image has one value per channel, everything else one per element.
  const fits =
    found.length === shape.length && found.every((size, i) => size === shape[i] || (size === 1 && i > 0));
  if (!fits) {
    throw new CraftError(
      'NORMALIZER_STATS_INVALID',
      `${where}: "${statistic}" of "${feature}" has shape [${found}], which does not fit the feature's [${shape}]`,
    );
  }
  if (!values.toTypedArray().every(Number.isFinite)) {
    throw new CraftError(
      'NORMALIZER_STATS_INVALID',
      `${where}: "${statistic}" of "${feature}" is NaN or infinite; recompute the dataset's statistics`,
    );
  }
  return values;
}

const LEGACY = /^(normalize_inputs|normalize_targets|unnormalize_outputs|unnormalize_inputs)\./;

/** Whether a tensor of a `model.safetensors` is a normalisation statistic; LeRobot stored them there before 0.4. */
export function isLegacyStat(name: string): boolean {
  return LEGACY.test(name);
}

/**
 * Statistics inside a `model.safetensors` of LeRobot before 0.4, where `observation.state` is called
 * `normalize_inputs.buffer_observation_state`.
 *
 * @returns null if the file is absent or holds none
 * @throws CraftError `NORMALIZER_STATS_INVALID` if the file holds statistics of several datasets, so that one would have to be
 * chosen
 */
export function legacyStats(
  path: string,
  config: Pick<PolicyFeatureFields, 'input_features' | 'output_features'>,
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

/** Mean and standard deviation of ImageNet's training images, red, green, blue, in [0, 1]. */
const IMAGENET_MEAN = [0.485, 0.456, 0.406] as const;
const IMAGENET_STD = [0.229, 0.224, 0.225] as const;

/**
 * ImageNet's statistics for cameras, `[3, 1, 1]`, to override a dataset's own (`dataset.use_imagenet_stats`). Only mean and std, as
 * in LeRobot's `datasets/factory.py`; other statistics stay the dataset's. They belong to no scope.
 *
 * @example
 * ```ts
 * const stats = new Map([...statTensors(dataset.stats), ...imagenetStats(['observation.images.top'])]);
 * ```
 */
export function imagenetStats(cameras: readonly string[]): StatTensors {
  const perChannel = (values: readonly number[]) =>
    tensor(Float32Array.from(values), { shape: [3, 1, 1] }).keep();
  return new Map(
    cameras.flatMap((camera) => [
      [`${camera}.mean`, perChannel(IMAGENET_MEAN)] as const,
      [`${camera}.std`, perChannel(IMAGENET_STD)] as const,
    ]),
  );
}
