import type {
  Column,
  DatasetFeature,
  DatasetStats,
  FeatureStats,
  LeRobotDatasetMetadata,
} from '@craft-ft/datasets';
import { computeStats, readColumns } from '@craft-ft/datasets';
import {
  MODE_STATS,
  type ProcessorPipeline,
  policyRelativeActions,
  type RelativeActions,
  relativeMask,
} from '@craft-ft/policies';
import type { PolicyConfig, PolicyFeatures } from '@craft-ft/policies/config';

/** A dataset, loaded or streamed. */
interface StatsSource {
  readonly metadata: LeRobotDatasetMetadata;
  readonly features: Readonly<Record<string, DatasetFeature>>;
  /** Chosen episodes, in the order of the rows. */
  readonly episodes: readonly { readonly episodeIndex: number }[];
  /** By policy key, where they are in memory. */
  readonly columns?: ReadonlyMap<string, Column>;
}

/** Maximum number of relative actions used, spread evenly over the dataset. */
const RELATIVE_ROWS = 200_000;

/**
 * A dataset's statistics, with what the policy's normalisation needs and the dataset lacks computed from its frames: datasets from
 * before quantiles were known (LeRobot v2.1 and older) have only mean, standard deviation, minimum and maximum. With relative actions
 * the statistics of `action` are those of the relative chunks, which no dataset has. Cameras are left as they are.
 *
 * @param stats as the dataset has them
 * @param datasets what `stats` are over: one, or the members of a mixture
 * @returns `computed` says which features were computed, for people
 */
export async function policyStats(
  policy: PolicyConfig,
  stats: Readonly<DatasetStats>,
  datasets: readonly StatsSource[],
): Promise<{ stats: DatasetStats; computed: string[] }> {
  const result = { ...stats };
  const computed: string[] = [];
  const relative = policyRelativeActions(policy);
  for (const [key, { type }] of Object.entries({ ...policy.input_features, ...policy.output_features })) {
    const mode = policy.normalization_mapping[type] ?? 'IDENTITY';
    if (type === 'VISUAL' || mode === 'IDENTITY') continue;
    if (key === 'action' && relative !== null) {
      result[key] = await relativeStats(relative, datasets);
      computed.push('action (relative to the state)');
      continue;
    }
    const known = Object.keys(stats[key] ?? {});
    if (MODE_STATS[mode].every((name) => known.includes(name))) continue;
    const columns = await Promise.all(datasets.map((dataset) => columnOf(dataset, key)));
    const values = joined(columns);
    const { shape, width } = columns[0]!;
    result[key] = computeStats(values, shape, values.length / width);
    computed.push(`${key} (${mode} needs ${MODE_STATS[mode].join(', ')})`);
  }
  return { stats: result, computed };
}

async function columnOf(
  { metadata, features, episodes, columns }: StatsSource,
  key: string,
): Promise<Column> {
  const loaded = columns?.get(key);
  if (loaded !== undefined) return loaded;
  const { datasetKey } = features[key]!;
  const chosen = episodes.map(({ episodeIndex }) => metadata.episode(episodeIndex));
  return (await readColumns(metadata, chosen, [datasetKey])).get(datasetKey)!;
}

function joined(columns: readonly Column[]): ArrayLike<number> {
  const length = columns.reduce((sum, { data }) => sum + data.length, 0);
  const all = new Float64Array(length);
  let at = 0;
  for (const { data } of columns) for (const value of data) all[at++] = Number(value);
  return all;
}

async function relativeStats(
  relative: RelativeActions,
  datasets: readonly StatsSource[],
): Promise<FeatureStats> {
  const chunk = relative.chunkSize;
  const frames = datasets
    .flatMap(({ metadata, episodes }) =>
      episodes.map(({ episodeIndex }) => metadata.episode(episodeIndex).length),
    )
    .reduce((sum, length) => sum + length, 0);
  const stride = Math.max(1, Math.ceil((frames * chunk) / RELATIVE_ROWS));
  const values: number[] = [];
  let shape: readonly number[] = [];
  for (const dataset of datasets) {
    const action = await columnOf(dataset, 'action');
    const state = await columnOf(dataset, 'observation.state');
    shape = action.shape;
    const { width } = action;
    const mask = relativeMask(width, relative);
    let start = 0;
    for (const { episodeIndex } of dataset.episodes) {
      const { length } = dataset.metadata.episode(episodeIndex);
      for (let t = 0; t < length; t += stride) {
        for (let row = start + t; row < start + Math.min(t + chunk, length); row++) {
          for (let d = 0; d < width; d++) {
            const from = Number(state.data[(start + t) * state.width + d] ?? 0);
            values.push(Number(action.data[row * width + d]) - mask[d]! * from);
          }
        }
      }
      start += length;
    }
  }
  const width = shape.reduce((product, size) => product * size, 1);
  return computeStats(values, shape, values.length / width);
}

/** A policy rarely makes sense of inputs further than this from what it was trained on, in standard deviations. */
const FAR = 10;

/**
 * Compares a dataset with the statistics a policy normalises by. A joint that hardly moved in the old data has a tiny standard
 * deviation; where it moves in the new data, normalised values explode. One line per feature that does.
 */
export function normalizationDrift(
  preprocessor: ProcessorPipeline,
  features: PolicyFeatures,
  data: DatasetStats,
): string[] {
  const saved = preprocessor.steps.map((step) => step.state()).find((state) => state !== null);
  if (saved === undefined || saved === null) return [];
  const lines: string[] = [];
  for (const key of Object.keys(features)) {
    const [mean, std, fresh] = [saved.get(`${key}.mean`), saved.get(`${key}.std`), data[key]];
    if (mean === undefined || std === undefined || fresh === undefined || !normalises(preprocessor, key))
      continue;
    const [means, deviations] = [mean.toTypedArray(), std.toTypedArray()].map((array) =>
      Array.from(array, Number),
    );
    const distances = fresh.mean.map((value, i) => Math.abs(value - means[i]) / (deviations[i] + 1e-8));
    const worst = distances.indexOf(Math.max(...distances));
    if (distances[worst] < FAR) continue;
    lines.push(
      `"${key}"[${worst}] of the new data lies ${distances[worst].toPrecision(3)} standard deviations from the mean the ` +
        'checkpoint normalises by; --normalization_stats=dataset takes the new statistics (the old skill then suffers)',
    );
  }
  return lines;
}

function normalises(preprocessor: ProcessorPipeline, key: string): boolean {
  return preprocessor.steps.some((step) => {
    const { features, norm_map: modes } = step.config() as {
      features?: PolicyFeatures;
      norm_map?: Record<string, string>;
    };
    const type = features?.[key]?.type;
    return type !== undefined && modes?.[type] === 'MEAN_STD';
  });
}
