import type { DatasetStats, LeRobotDataset } from '@craft-ft/datasets';
import {
  type CameraDataset,
  FrameLoader,
  MixtureSampler,
  MultiDataset,
  RandomSampler,
} from '@craft-ft/datasets';
import { CameraBatches } from './camera-batches.js';
import type { TrainConfig } from './config/train.js';
import { DataStream, type Preprocess, type StreamCameras, type TrainingData } from './data-stream.js';
import { type DatasetChoice, openPolicyDataset, openPolicyStream } from './open-data.js';
import { policyStats } from './policy-stats.js';
import { StreamedData } from './streamed-data.js';

/** A run's data, opened and checked, before the processors that its statistics decide about exist. */
export interface OpenedData {
  features: LeRobotDataset['features'];
  stats: DatasetStats;
  /** The dataset's folder, for messages. */
  root: string;
  episodes: number;
  frames: number;
  /** Features whose statistics had to be computed, for people. */
  computedStats: readonly string[];
  /** Batches of it. May be called once. */
  stream(preprocess: Preprocess): TrainingData;
}

/** Opens what `config.dataset` describes: one dataset, in memory or streamed, or a mixture. `config.policy` has its features. */
export async function openTaskData(config: TrainConfig): Promise<OpenedData> {
  const {
    dataset: choice,
    policy,
    rename_map: renameMap,
    tolerance_s: toleranceS,
    batch_size: batchSize,
    seed,
  } = config;
  const wanted = { choice, policy, renameMap, toleranceS };
  if (choice.streaming) {
    const dataset = await openPolicyStream(wanted, seed);
    return {
      ...described(dataset, await policyStats(policy, dataset.stats, [dataset]), dataset.length),
      stream: (preprocess) =>
        new StreamedData(dataset, batchSize, preprocess, streamCameras(dataset, config, seed)),
    };
  }
  const dataset = await openPolicyDataset(wanted);
  if (choice.mixture === null) {
    return {
      ...described(dataset, await policyStats(policy, dataset.stats, [dataset]), dataset.length),
      stream: (preprocess) => sampledStream(dataset, config, batchSize, seed, preprocess),
    };
  }
  const others = await Promise.all(
    choice.mixture.map(async ({ weight, ...other }) => ({
      dataset: await openPolicyDataset({
        ...wanted,
        choice: { ...other, exclude_episodes: null },
        renameRequired: false,
      }),
      weight,
    })),
  );
  const mixture = new MultiDataset([{ dataset, weight: 1 }, ...others]);
  const cameras = () => streamCameras(mixture.members, config, seed);
  return {
    ...described(dataset, await policyStats(policy, mixture.stats, mixture.members), mixture.length),
    episodes: mixture.members.reduce((sum, { episodes }) => sum + episodes.length, 0),
    stream: (preprocess) =>
      new DataStream(mixture, new MixtureSampler(mixture, { seed }), batchSize, preprocess, cameras()),
  };
}

/** Shuffled batches of one dataset. */
function sampledStream(
  dataset: LeRobotDataset,
  config: TrainConfig,
  batchSize: number,
  seed: number,
  preprocess: Preprocess,
): DataStream {
  const sampler = new RandomSampler(dataset, { seed });
  return new DataStream(dataset, sampler, batchSize, preprocess, streamCameras(dataset, config, seed));
}

/** The datasets that have to be on this machine, the mixture's included. */
export function datasetChoices({ dataset }: TrainConfig): DatasetChoice[] {
  const others = (dataset.mixture ?? []).map(({ weight: _, ...other }) => ({
    ...other,
    exclude_episodes: null,
  }));
  return [dataset, ...others];
}

function described(
  dataset: CameraDataset,
  { stats, computed }: { stats: DatasetStats; computed: string[] },
  frames: number,
): Omit<OpenedData, 'stream'> {
  const { features, metadata, episodes } = dataset;
  return { features, stats, frames, computedStats: computed, root: metadata.root, episodes: episodes.length };
}

function streamCameras(
  datasets: CameraDataset | readonly CameraDataset[],
  config: TrainConfig,
  seed: number,
): StreamCameras | null {
  const batches = new CameraBatches(config.policy.input_features, config.dataset.image_transforms, seed);
  if (batches.cameras.length === 0) return null;
  const loader = new FrameLoader(datasets, {
    cameras: batches.cameras,
    numWorkers: config.num_workers,
    toleranceS: config.tolerance_s,
    frameCache: config.dataset.frame_cache,
  });
  return { loader, batches };
}
