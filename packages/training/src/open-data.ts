import type { RenameMap } from '@craft-ft/datasets';
import {
  datasetCacheFolder,
  downloadDataset,
  LeRobotDataset,
  LeRobotDatasetMetadata,
  type LeRobotDatasetOptions,
  StreamingDataset,
} from '@craft-ft/datasets';
import { type FeatureSources, withDatasetFeatures } from '@craft-ft/policies';
import { type PolicyConfig, policyDeltaIndices } from '@craft-ft/policies/config';
import { CraftError } from '@craft-ft/torch/errors';
import type { DatasetConfig } from './config/dataset.js';

/** What of a dataset to open. */
export type DatasetChoice = Pick<DatasetConfig, 'repo_id' | 'root' | 'episodes' | 'exclude_episodes'> &
  Partial<Pick<DatasetConfig, 'revision'>>;

/** The folder a dataset lies in: `root`, else where LeRobot caches downloads (`$HF_LEROBOT_HOME/<repo_id>`). */
export function datasetFolder(choice: DatasetChoice): string {
  return choice.root ?? datasetCacheFolder(choice.repo_id);
}

/**
 * Brings a dataset without a folder of its own from the Hugging Face Hub, or makes sure that what is needed of it is here. Does
 * nothing where `root` says where it lies.
 *
 * @param cameras dataset keys of the cameras to bring. Default: all
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
export async function openPolicyStream(wanted: PolicyDataset, seed: number): Promise<StreamingDataset> {
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

// One map serves the task's dataset and the anchors', whose own keys may need none of it.
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
