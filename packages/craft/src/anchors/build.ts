import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { FrameLoader } from '@craft-ft/datasets';
import {
  fetchPolicyTokenizers,
  loadPolicy,
  loadProcessors,
  readPolicyConfig,
  resolveDevice,
} from '@craft-ft/policies';
import { libtorchVersion } from '@craft-ft/torch';
import { cameraSizes } from '@craft-ft/training';
import { DEFAULT_FEATURES, type Pooling } from '../features.js';
import { type BuildPlan, finishBuild, openBuildFolder, savePlan } from './build-folder.js';
import {
  addSquares,
  type Build,
  makeShard,
  poolFeatures,
  type TargetRequest,
  type TokenSource,
} from './build-samples.js';
import { fileHash, finishedShard, shardName, type TensorTable } from './cache.js';
import type { AnchorKind, AnchorSelection } from './config.js';
import { ANCHOR_CACHE_VERSION, type AnchorCacheMetadata, VERSION } from './metadata.js';
import { hashJson, processorHashes } from './processor-hash.js';
import { selectAnchors } from './selection/index.js';
import { type AnchorDataset, type AnchorReading, type AnchorSource, openAnchorSource } from './source.js';

/** Options of {@link buildAnchorCache}. */
export interface BuildAnchorOptions {
  /** Checkpoint, run or model folder of the frozen teacher. */
  teacher: string;
  datasets: readonly AnchorDataset[];
  /** Folder for the cache; an interrupted build in it is resumed. */
  outputDir: string;
  /** Default `task`. */
  kinds?: readonly AnchorKind[];
  /** Number of samples; all frames if there are fewer. Default 1000. */
  numAnchors?: number;
  /** Default `uniform`. */
  selection?: AnchorSelection;
  /** For `kmeans` and `herding`: frames to choose among. Default 4000. */
  poolSize?: number;
  /** For `events`. Default: detected. */
  gripperDims?: readonly number[] | null;
  /** For `hidden` and `feature` (which uses only the first). Default −2, as in training. */
  layers?: readonly number[];
  /** Default `mean_masked`, as in training. */
  poolings?: readonly Pooling[];
  /** How targets are stored. Default `float16`. */
  dtype?: 'float16' | 'float32';
  /** For `token_ce`. Default `teacher`. */
  tokenSource?: TokenSource;
  /** Batch size; affects speed only. Default 16. */
  batchSize?: number;
  /** Default 0. */
  seed?: number;
  /** Samples per file. Default 256. */
  shardSize?: number;
  /** Default: the teacher's own. */
  device?: string | null;
  /** Whether another cache in the folder is deleted. Default false. */
  overwrite?: boolean;
  numWorkers?: number;
  reading?: AnchorReading;
  /** Called with the current stage and its progress. */
  onProgress?: (stage: 'selection' | 'samples', done: number, total: number) => void;
}

/**
 * Writes an anchor cache: dataset samples with a frozen teacher's targets, so that training needs neither the datasets nor the teacher.
 *
 * The result depends only on the options. Each shard is written atomically, `metadata.json` last: run an interrupted build again and it
 * resumes where it stopped; a finished one does nothing. Inputs are stored as they are before the policy's processors, and the teacher
 * sees exactly what is stored, through the same code that training uses.
 *
 * @returns the metadata
 * @throws CraftError `ANCHOR_CACHE_EXISTS`, `ANCHOR_KIND`, `ANCHOR_SELECTION`, `ANCHOR_NOT_FINITE`, and those of policies and datasets
 *
 * @example
 * ```ts
 * await buildAnchorCache({
 *   teacher: 'outputs/kitchen',
 *   datasets: [{ choice: { repo_id: 'me/kitchen', root: null, episodes: null, exclude_episodes: null } }],
 *   outputDir: 'anchors/kitchen',
 *   kinds: ['task', 'hidden'],
 *   selection: 'kmeans',
 * });
 * ```
 */
export async function buildAnchorCache(options: BuildAnchorOptions): Promise<AnchorCacheMetadata> {
  const { dir: teacherDir, config } = readPolicyConfig(options.teacher);
  const device = resolveDevice(options.device ?? config.device);
  const { reading = {}, numWorkers } = options;
  const source = await openAnchorSource(options.datasets, config, reading);
  await fetchPolicyTokenizers(config);
  const processors = loadProcessors(teacherDir, config, { device });
  const teacher = {
    path: options.teacher,
    type: config.type,
    weights_sha256: weightsHash(teacherDir),
    processor: processorHashes(processors),
  };
  const request = targetRequest(options);
  const fingerprint = fingerprintOf(options, request, source, teacher);
  const known = openBuildFolder(options.outputDir, fingerprint, options.overwrite ?? false);
  const cameras = [...cameraSizes(config.input_features).keys()];
  const loader =
    cameras.length === 0
      ? null
      : new FrameLoader(source.members, { cameras, numWorkers, toleranceS: reading.toleranceS });
  try {
    const policy = loadPolicy(teacherDir, config).to({ device });
    policy.eval();
    const batchSize = options.batchSize ?? 16;
    const build: Build = { policy, processors, source, loader, request, batchSize };
    const plan = known ?? (await makePlan(options, build, fingerprint));
    if (known === null) savePlan(options.outputDir, plan);
    const samples = await makeSamples(options, build, plan);
    const metadata: AnchorCacheMetadata = {
      format: 'craft-anchor-cache',
      version: ANCHOR_CACHE_VERSION,
      fingerprint,
      kinds: [...request.kinds],
      preprocessed: false,
      num_samples: samples.rows.length,
      shard_size: options.shardSize ?? SHARD_SIZE,
      shards: samples.shards,
      dtype: request.dtype,
      seed: options.seed ?? 0,
      selection: {
        strategy: options.selection ?? 'uniform',
        pool_size: plan.pool_size,
        coverage: plan.coverage,
      },
      teacher,
      ...describeBuild(build, samples),
      frames: plan.frames,
      versions: { craft: VERSION, libtorch: libtorchVersion(), node: process.versions.node },
      notes: [],
    };
    finishBuild(options.outputDir, metadata);
    return metadata;
  } finally {
    await loader?.close();
  }
}

const SHARD_SIZE = 256;
const NUM_ANCHORS = 1000;

function targetRequest(options: BuildAnchorOptions): TargetRequest {
  return {
    kinds: [...new Set(options.kinds ?? (['task'] as const))],
    features: {
      layers: options.layers ?? DEFAULT_FEATURES.layers,
      poolings: options.poolings ?? DEFAULT_FEATURES.poolings,
    },
    tokenSource: options.tokenSource ?? 'teacher',
    dtype: options.dtype ?? 'float16',
  };
}

// Everything that affects the content, and nothing else (no paths, batch size or device).
function fingerprintOf(
  options: BuildAnchorOptions,
  request: TargetRequest,
  source: AnchorSource,
  teacher: Pick<NonNullable<AnchorCacheMetadata['teacher']>, 'type' | 'weights_sha256' | 'processor'>,
): string {
  const { type, weights_sha256, processor } = teacher;
  return hashJson({
    version: ANCHOR_CACHE_VERSION,
    teacher: { type, weights_sha256, processor },
    datasets: source.members.map((member, i) => ({
      repo_id: member.repoId,
      revision: source.revisions[i],
      episodes: member.episodes.map(({ episodeIndex, start, end }) => [episodeIndex, end - start]),
    })),
    request,
    num_anchors: options.numAnchors ?? NUM_ANCHORS,
    selection: options.selection ?? 'uniform',
    pool_size: options.poolSize ?? POOL_SIZE,
    gripper_dims: options.gripperDims ?? null,
    seed: options.seed ?? 0,
    shard_size: options.shardSize ?? SHARD_SIZE,
  });
}

const POOL_SIZE = 4000;

// Hashes the weights of the model and of an adapter, but not the processors' files.
function weightsHash(dir: string): string {
  const files = readdirSync(dir).filter((name) => /^(adapter_)?model.*\.safetensors$/.test(name));
  const hash = createHash('sha256');
  for (const name of files.sort()) hash.update(`${name}\n${fileHash(join(dir, name))}\n`);
  return hash.digest('hex');
}

async function makePlan(options: BuildAnchorOptions, build: Build, fingerprint: string): Promise<BuildPlan> {
  const { onProgress = () => {}, onWarning = console.warn } = { ...options.reading, ...options };
  const wanted = options.numAnchors ?? NUM_ANCHORS;
  if (wanted > build.source.table.length)
    onWarning(`the datasets have ${build.source.table.length} frames: all of them are taken, not ${wanted}`);
  const chosen = await selectAnchors(
    build.source,
    {
      strategy: options.selection ?? 'uniform',
      count: wanted,
      seed: options.seed ?? 0,
      poolSize: options.poolSize ?? POOL_SIZE,
      gripperDims: options.gripperDims ?? null,
    },
    (rows) => poolFeatures(build, rows, (done) => onProgress('selection', done, rows.length)),
  );
  const places = chosen.rows.map((row) => build.source.place(row));
  return {
    fingerprint,
    frames: {
      dataset: places.map(({ dataset }) => dataset),
      episode: places.map(({ episode }) => episode),
      frame: places.map(({ frame }) => frame),
    },
    pool_size: chosen.poolSize,
    coverage: chosen.coverage,
  };
}

/** The samples that a build has written. */
interface WrittenSamples {
  rows: readonly number[];
  shards: AnchorCacheMetadata['shards'];
  tensors: TensorTable;
  /** Sums of squares of the feature targets, by tensor. */
  squares: Record<string, number[]>;
  /** How many hidden states the teacher has; 0 if none were requested. */
  states: number;
}

async function makeSamples(
  options: BuildAnchorOptions,
  build: Build,
  { fingerprint, frames }: BuildPlan,
): Promise<WrittenSamples> {
  const { outputDir, shardSize = SHARD_SIZE, onProgress = () => {} } = options;
  const rows = frames.dataset.map((dataset, i) =>
    build.source.row(dataset, frames.episode[i]!, frames.frame[i]!),
  );
  const shards: WrittenSamples['shards'] = [];
  const squares: Record<string, number[]> = {};
  let tensors: TensorTable = {};
  let states = 0;
  for (let start = 0; start < rows.length; start += shardSize) {
    const part = rows.slice(start, start + shardSize);
    const file = shardName(shards.length);
    const report = (done: number) => onProgress('samples', start + done, rows.length);
    const made =
      finishedShard(outputDir, file, fingerprint, part.length) ??
      (await makeShard(build, part, outputDir, file, fingerprint, report));
    tensors = made.tensors;
    addSquares(squares, made.notes.squares);
    states ||= made.notes.states;
    shards.push({ file, count: part.length, sha256: fileHash(join(outputDir, file)) });
    report(part.length);
  }
  return { rows, shards, tensors, squares, states };
}

type Described = Pick<
  AnchorCacheMetadata,
  'tensors' | 'datasets' | 'tasks' | 'task_index' | 'images' | 'hidden' | 'feature' | 'action' | 'tokens'
>;

/** What the metadata says about the content of a finished build. */
function describeBuild(build: Build, { rows, tensors, squares, states }: WrittenSamples): Described {
  const { source, request, policy } = build;
  const { table } = source;
  const used = [...new Set(rows.map((row) => table.task[row]!))].sort((a, b) => a - b);
  const images = Object.entries(tensors).filter(
    ([name]) => policy.config.input_features[name]?.type === 'VISUAL',
  );
  const shape = (name: string) => tensors[name]?.shape;
  const moments = (name: string) =>
    (squares[name] ?? []).map((sum) => sum / (rows.length * shape(name)!.at(-1)!));
  const [hidden, feature, action, tokens] = ['hidden', 'feature', 'action', 'token_labels'].map((name) =>
    shape(`anchor.${name}`),
  );
  const { layers, poolings } = request.features;
  const numStates = states === 0 ? null : states;
  return {
    tensors,
    datasets: source.members.map((member, i) => ({
      repo_id: member.repoId,
      revision: source.revisions[i]!,
      fps: member.fps,
      episodes: member.episodes.length,
      frames: member.length,
    })),
    tasks: used.map((task) => table.tasks[task]!),
    task_index: rows.map((row) => used.indexOf(table.task[row]!)),
    images: Object.fromEntries(
      images.map(([name, { shape: size }]) => [name, { height: size[1]!, width: size[2]! }]),
    ),
    hidden:
      hidden === undefined
        ? null
        : {
            layers: [...layers],
            poolings: [...poolings],
            hidden_size: hidden[2]!,
            num_states: numStates,
            second_moment: grouped(moments('anchor.hidden'), poolings.length),
          },
    feature:
      feature === undefined
        ? null
        : {
            layer: layers[0]!,
            pooling: poolings[0]!,
            hidden_size: feature[0]!,
            num_states: numStates,
            second_moment: moments('anchor.feature')[0]!,
          },
    action: action === undefined ? null : { chunk: action[0]!, dim: action[1]! },
    tokens: tokens === undefined ? null : { source: request.tokenSource, length: tokens[0]! },
  };
}

function grouped(values: readonly number[], size: number): number[][] {
  return Array.from({ length: values.length / size }, (_, i) => values.slice(i * size, (i + 1) * size));
}
