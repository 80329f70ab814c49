import { join } from 'node:path';
import { CraftError } from '@craft-ft/torch';
import { z } from 'zod';
import { firstLine, type OnWarning, parseJson, readTextIfPresent } from './dataset-files.js';

const featureSchema = z.looseObject({
  dtype: z.string().min(1),
  shape: z.array(z.int().positive()),
  names: z.unknown().optional(),
});

/** Keys of info.json that LeRobot 0.6 or 0.3 writes; the ones used here are typed, the rest are kept as they are. */
const infoSchema = z.looseObject({
  codebase_version: z.string(),
  robot_type: z.string().nullish(),
  total_episodes: z.int().nonnegative(),
  total_frames: z.int().nonnegative(),
  total_tasks: z.int().nonnegative().optional(),
  chunks_size: z.int().positive().default(1000),
  data_files_size_in_mb: z.number().positive().optional(),
  video_files_size_in_mb: z.number().positive().optional(),
  fps: z.number().positive(),
  splits: z.record(z.string(), z.string()).optional(),
  data_path: z.string().min(1),
  video_path: z.string().nullish(),
  features: z.record(z.string(), featureSchema),
});

/** Written by LeRobot; not needed for reading. */
const ignoredKeys = ['total_videos', 'total_chunks', 'tools', 'video', 'encoding'];

/** One entry of info.json's `features`: numpy dtype (or `string`, `image`, `video`), shape of one frame, axis names. */
export interface FeatureInfo {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly names: unknown;
  /** Everything else the file says about it, e.g. `info` of a video. */
  readonly extra: Readonly<Record<string, unknown>>;
}

/** A validated info.json. */
export interface DatasetInfo {
  readonly version: '2.0' | '2.1' | '3.0';
  readonly robotType: string | null;
  readonly totalEpisodes: number;
  readonly totalFrames: number;
  /** Files per folder (v3.0) or episodes per folder (v2.x). */
  readonly chunksSize: number;
  /** Frames per second. */
  readonly fps: number;
  readonly dataPath: string;
  readonly videoPath: string | null;
  readonly features: Readonly<Record<string, FeatureInfo>>;
}

/** Columns that every LeRobot dataset has: scalars that LeRobot maintains itself, not inputs or outputs of a policy. */
export const bookkeepingKeys = ['timestamp', 'frame_index', 'episode_index', 'index', 'task_index'] as const;

export function isBookkeeping(key: string): boolean {
  return (bookkeepingKeys as readonly string[]).includes(key);
}

/**
 * Reads and validates `meta/info.json`. Unknown top-level keys are ignored with one warning.
 *
 * @throws CraftError `DATASET_INFO_MISSING`, `DATASET_INFO_INVALID` (naming the field), `DATASET_VERSION`.
 */
export function loadInfo(root: string, warn: OnWarning): DatasetInfo {
  const path = join(root, 'meta', 'info.json');
  const text = readTextIfPresent(path);
  if (text === undefined) {
    throw new CraftError(
      'DATASET_INFO_MISSING',
      `${path}: the file is missing; is "${root}" a LeRobot dataset, completely downloaded or recorded to its end?`,
    );
  }
  const info = validate(path, text);
  const unknown = Object.keys(info).filter((key) => !(key in infoSchema.shape) && !ignoredKeys.includes(key));
  if (unknown.length > 0) warn(`${path}: unknown keys are ignored: ${unknown.join(', ')}`);
  const features = Object.fromEntries(
    Object.entries(info.features).map(([key, { dtype, shape, names, ...extra }]) => [
      key,
      { dtype, shape, names: names ?? null, extra },
    ]),
  );
  for (const key of bookkeepingKeys) {
    if (features[key] === undefined) throw invalid(path, `features."${key}" is missing`);
  }
  return {
    version: supportedVersion(path, info.codebase_version),
    robotType: info.robot_type ?? null,
    totalEpisodes: info.total_episodes,
    totalFrames: info.total_frames,
    chunksSize: info.chunks_size,
    fps: info.fps,
    dataPath: info.data_path,
    videoPath: info.video_path ?? null,
    features,
  };
}

function validate(path: string, text: string): z.infer<typeof infoSchema> {
  let json: unknown;
  try {
    json = parseJson(text, path);
  } catch (error) {
    throw new CraftError('DATASET_INFO_INVALID', firstLine(error), { cause: error });
  }
  const result = infoSchema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const field = issue.path.map(String).join('.');
  throw invalid(path, field === '' ? issue.message : `field "${field}": ${issue.message}`);
}

function supportedVersion(path: string, version: string): DatasetInfo['version'] {
  const match = /^v?(2\.0|2\.1|3\.0)$/.exec(version);
  if (match !== null) return match[1] as DatasetInfo['version'];
  throw new CraftError(
    'DATASET_VERSION',
    `${path}: codebase_version is "${version}"; v2.0, v2.1 and v3.0 are read, convert the dataset with LeRobot's converter`,
  );
}

function invalid(path: string, what: string): CraftError {
  return new CraftError('DATASET_INFO_INVALID', `${path}: ${what}; correct the file or download it again`);
}

/** What a policy needs to know about a feature of a dataset; see `LeRobotDataset.features`. */
export interface FeatureSource {
  readonly dtype: string;
  /** Of one frame; images `[height, width, channels]` or `[channels, height, width]`. */
  readonly shape: readonly number[];
  readonly names: unknown;
}

/** A feature of a dataset under its policy key. */
export interface DatasetFeature extends FeatureSource {
  readonly datasetKey: string;
}

/** `[channels, height, width]` of a camera: policies expect channels first, whatever the dataset says. */
export function imageShape(key: string, { shape, names }: FeatureSource): number[] {
  if (shape.length !== 3) {
    throw new CraftError(
      'POLICY_FEATURES',
      `"${key}" is a camera of shape [${shape}]; expected three dimensions`,
    );
  }
  const [first = 0, second = 0, third = 0] = shape;
  const last = Array.isArray(names) ? /^channels?$/.test(String(names[2])) : first > 4;
  return last ? [third, first, second] : [first, second, third];
}

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

/** One line of the table of features. */
export interface FeatureRow {
  readonly datasetKey: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** The key the policy sees, or `not used`. */
  readonly policyKey: string;
}

/**
 * Which feature of the dataset goes to which key of the policy; the bookkeeping columns are left out.
 *
 * @param policyFeatures Keys the policy takes in or gives out. Default: all loaded features.
 */
export function featureTable(
  dataset: {
    readonly features: Readonly<Record<string, DatasetFeature>>;
    readonly columns: ReadonlyMap<string, unknown>;
  },
  policyFeatures: Iterable<string> = dataset.columns.keys(),
): FeatureRow[] {
  const used = new Set(policyFeatures);
  return Object.entries(dataset.features)
    .filter(([key]) => !isBookkeeping(key))
    .map(([key, { datasetKey, dtype, shape }]) => ({
      datasetKey,
      dtype,
      shape,
      policyKey: used.has(key) ? key : 'not used',
    }));
}

/** The table as aligned lines, for the console. */
export function formatFeatureTable(rows: readonly FeatureRow[]): string[] {
  const cells = [
    ['dataset key', 'dtype', 'shape', 'policy key'],
    ...rows.map((row) => [row.datasetKey, row.dtype, `[${row.shape.join(', ')}]`, row.policyKey]),
  ];
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  return cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
}
