import type { DatasetStats, RenameMap } from '@craft-ft/datasets';
import {
  type CameraDataset,
  datasetCacheFolder,
  downloadDataset,
  FrameLoader,
  LeRobotDataset,
  LeRobotDatasetMetadata,
  type LeRobotDatasetOptions,
  MixtureSampler,
  MultiDataset,
  RandomSampler,
  StreamingDataset,
} from '@craft-ft/datasets';
import { type FeatureSources, withDatasetFeatures } from '@craft-ft/policies';
import { type PolicyConfig, policyDeltaIndices } from '@craft-ft/policies/config';
import { CraftError } from '@craft-ft/torch';
import type { DatasetConfig, TrainConfig } from './config/train.js';
import {
  CameraBatches,
  DataStream,
  type Preprocess,
  type StreamCameras,
  StreamedData,
  type TrainingData,
} from './data-stream.js';
import { policyStats } from './statistics.js';

/** Which dataset to open, and which of its episodes. */
export type DatasetChoice = Pick<DatasetConfig, 'repo_id' | 'root' | 'episodes' | 'exclude_episodes'> &
  Partial<Pick<DatasetConfig, 'revision'>>;

/** The folder a dataset lies in: `root`, else where LeRobot caches downloads (`$HF_LEROBOT_HOME/<repo_id>`). */
export function datasetFolder(choice: DatasetChoice): string {
  return choice.root ?? datasetCacheFolder(choice.repo_id);
}

/**
 * Downloads a dataset from the Hugging Face Hub, or checks that the needed files are already here. Does nothing if `root` is set.
 *
 * @param cameras dataset keys of the cameras to download. Default: all
 * @throws CraftError as {@link downloadDataset}
 */
export async function fetchDataset(
  choice: DatasetChoice,
  cameras: readonly string[] | undefined,
  onInfo: (line: string) => void,
  onWarning: (line: string) => void,
): Promise<void> {
  if (choice.root !== null) return;
  const folder = datasetFolder(choice);
  let announced = false;
  const onProgress = () => {
    if (!announced) onInfo(`downloading ${choice.repo_id} from the Hugging Face Hub into ${folder}`);
    announced = true;
  };
  try {
    await downloadDataset({
      repoId: choice.repo_id,
      revision: choice.revision ?? undefined,
      episodes: choice.episodes ?? undefined,
      excludeEpisodes: choice.exclude_episodes ?? undefined,
      cameras,
      onProgress,
      onWarning,
    });
  } catch (error) {
    if (!(error instanceof CraftError) || error.code !== 'HUB_UNREACHABLE') throw error;
    const where = `dataset ${choice.repo_id} is not complete in ${folder} (--dataset.root names another folder)`;
    throw new CraftError(error.code, `${where}, and ${error.message}`, { cause: error });
  }
}

/** A dataset, and how a policy is to see it. */
export interface PolicyDataset {
  choice: DatasetChoice;
  /** With its features filled in. */
  policy: PolicyConfig;
  renameMap: RenameMap;
  toleranceS: number;
  /** Whether every key of the map must exist. Default true; false where the map was made for another dataset. */
  renameRequired?: boolean;
}

/**
 * Opens a dataset with the windows a policy needs, loading only the features it uses.
 *
 * @throws CraftError POLICY_FEATURES listing what the dataset lacks or has in another shape
 */
export async function openPolicyDataset(wanted: PolicyDataset): Promise<LeRobotDataset> {
  return LeRobotDataset.open(await openOptions(wanted));
}

/** As {@link openPolicyDataset}, reading file by file through a shuffle buffer. */
async function openPolicyStream(wanted: PolicyDataset, seed: number): Promise<StreamingDataset> {
  return StreamingDataset.open({ ...(await openOptions(wanted)), seed });
}

async function openOptions(wanted: PolicyDataset): Promise<LeRobotDatasetOptions> {
  const { choice, policy, renameMap, toleranceS, renameRequired = true } = wanted;
  const root = datasetFolder(choice);
  const metadata = await LeRobotDatasetMetadata.load(root);
  withDatasetFeatures(policy, renamedFeatures(metadata, renameMap), root);
  const inputs = Object.keys(policy.input_features).filter(
    (key) => policy.input_features[key]!.type !== 'VISUAL',
  );
  const outputs = Object.keys(policy.output_features);
  const deltas = policyDeltaIndices(policy);
  const window = (indices: number[] | null) => indices?.map((index) => index / metadata.fps);
  const windows = [
    ...inputs.map((key) => [key, window(deltas.observation)] as const),
    ...outputs.map((key) => [key, window(deltas.action)] as const),
  ].filter((entry): entry is readonly [string, number[]] => entry[1] !== undefined);
  return {
    root,
    repoId: choice.repo_id,
    episodes: chosenEpisodes(choice, metadata),
    deltaTimestamps: Object.fromEntries(windows),
    renameMap: renameRequired ? renameMap : presentIn(metadata, renameMap),
    keys: [...inputs, ...outputs],
    toleranceS,
  };
}

function chosenEpisodes(choice: DatasetChoice, metadata: LeRobotDatasetMetadata): number[] | undefined {
  const excluded = choice.exclude_episodes;
  if (excluded === null) return choice.episodes ?? undefined;
  const all = choice.episodes ?? metadata.episodes.map((episode) => episode.episodeIndex);
  return all.filter((episode) => !excluded.includes(episode));
}

// The task's dataset and the anchors' share one map, and the anchors' keys may not need it.
function presentIn(metadata: LeRobotDatasetMetadata, renameMap: RenameMap): RenameMap {
  const used = Object.entries(renameMap).filter(([key]) => metadata.features[key] !== undefined);
  return used.length === 0 && Object.keys(renameMap).length > 0 && renamedAlready(metadata, renameMap)
    ? {}
    : renameMap;
}

function renamedAlready(metadata: LeRobotDatasetMetadata, renameMap: RenameMap): boolean {
  return Object.values(renameMap).every((key) => metadata.features[key] !== undefined);
}

/** A dataset's features by policy key, without opening its frames. */
export function renamedFeatures(metadata: LeRobotDatasetMetadata, renameMap: RenameMap): FeatureSources {
  return Object.fromEntries(
    Object.entries(metadata.features).map(([key, { dtype, shape, names }]) => [
      renameMap[key] ?? key,
      { dtype, shape, names },
    ]),
  );
}

/** A run's data, opened and checked, before the processors, which depend on its statistics, are created. */
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

/** The datasets that must be available locally, including those of a mixture. */
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
