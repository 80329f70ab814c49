import type { DatasetStats } from '@craft-ft/datasets';
import { CraftError, noGrad, safetensors, type Tensor, tensor } from '@craft-ft/torch';

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
export function ownStats(tensors: ReadonlyMap<string, Tensor>): StatTensors {
  return noGrad(
    () =>
      new Map([...tensors].map(([name, values]) => [name, values.to({ dtype: 'float32' }).keep()] as const)),
  );
}

/**
 * One statistic of a feature, checked.
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
