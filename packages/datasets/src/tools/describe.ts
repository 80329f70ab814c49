import { LeRobotDataset } from '../dataset/dataset.js';
import { columnDType } from '../dataset/dtypes.js';
import { type FeatureInfo, isBookkeeping } from '../dataset/info.js';
import { LeRobotDatasetMetadata } from '../dataset/metadata.js';

/** A dataset in a few words. */
export interface DatasetSummary {
  readonly root: string;
  readonly version: string;
  readonly robotType: string | null;
  readonly fps: number;
  readonly episodes: number;
  readonly frames: number;
  readonly seconds: number;
  /** Frames of the shortest, the median and the longest episode. */
  readonly lengths: readonly [shortest: number, median: number, longest: number];
  readonly features: Readonly<Record<string, { dtype: string; shape: readonly number[] }>>;
  /** Episodes by instruction. */
  readonly tasks: Readonly<Record<string, number>>;
}

/** Reads the metadata only. Throws as {@link LeRobotDatasetMetadata.load}. */
export async function summarizeDataset(root: string): Promise<DatasetSummary> {
  const metadata = await LeRobotDatasetMetadata.load(root);
  const { version, robotType, fps, features, tasks } = metadata;
  const lengths = metadata.episodes.map(({ length }) => length).sort((a, b) => a - b);
  const frames = lengths.reduce((a, b) => a + b, 0);
  const count = (task: string): number => metadata.episodes.filter((e) => e.tasks.includes(task)).length;
  return {
    root: metadata.root,
    version: `v${version}`,
    robotType,
    fps,
    episodes: lengths.length,
    frames,
    seconds: frames / fps,
    lengths: [lengths[0] ?? 0, lengths[lengths.length >> 1] ?? 0, lengths.at(-1) ?? 0],
    features: Object.fromEntries(
      Object.entries(features).map(([key, { dtype, shape }]) => [key, { dtype, shape }]),
    ),
    tasks: Object.fromEntries([...tasks.values()].map((task) => [task, count(task)])),
  };
}

/** One element of one feature over an episode. */
export interface Curve {
  /** The feature's key and the element's name or number. */
  readonly name: string;
  readonly values: Float64Array;
}

/**
 * The numeric features of an episode, element by element, bookkeeping left out.
 *
 * @throws CraftError as {@link LeRobotDataset.open}.
 */
export async function episodeCurves(root: string, episode: number): Promise<Curve[]> {
  const dataset = await LeRobotDataset.open({ root, episodes: [episode] });
  const curves: Curve[] = [];
  for (const [key, { data, width }] of dataset.columns) {
    const feature = dataset.metadata.features[dataset.features[key]!.datasetKey]!;
    if (isBookkeeping(key) || columnDType(feature.dtype) === undefined) continue;
    const names = elementNames(feature);
    for (let element = 0; element < width; element++) {
      const values = Float64Array.from({ length: dataset.length }, (_, row) =>
        Number(data[row * width + element]),
      );
      curves.push({ name: width === 1 ? key : `${key}[${names[element] ?? element}]`, values });
    }
  }
  return curves;
}

/** `names` is a list, a list in a list, or lists by axis. */
function elementNames({ names }: FeatureInfo): string[] {
  const lists = typeof names === 'object' && names !== null ? Object.values(names) : [];
  const flat = lists.flat().flat();
  return flat.every((name) => typeof name === 'string') ? (flat as string[]) : [];
}
