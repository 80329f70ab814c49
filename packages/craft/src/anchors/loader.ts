import { FrameLoader, type FrameSampler } from '@craft-ft/datasets';
import type { Policy, PolicyProcessors, TensorBatch } from '@craft-ft/policies';
import { CraftError, noGrad, scope, type Tensor, tensor as torchTensor } from '@craft-ft/torch';
import { CameraBatches, DataStream, type TrainingData } from '@craft-ft/training';
import { extractFeatures } from '../features.js';
import { AnchorCacheDataset } from './cache.js';
import { fromStored } from './inputs.js';
import type { AnchorCacheMetadata } from './metadata.js';
import { type AnchorNeeds, checkNeeds, type FeaturePlace, TARGETS } from './needs.js';
import { type RowSelection, rowSampler, selectRows } from './rows.js';
import { type AnchorDataset, type AnchorReading, openAnchorSource } from './source.js';

/** Endless batches of anchors, ready for the policy; the batch of a number is always the same. */
export interface AnchorLoader extends TrainingData {
  /** What the cache says about itself; null where anchors come from datasets. */
  readonly metadata: AnchorCacheMetadata | null;
}

/** Options of {@link createAnchorDataLoader}. Give `datasets` or `cacheDir`. */
export interface AnchorLoaderOptions {
  /** LeRobot datasets of the old tasks, local or on the Hub. */
  datasets?: readonly AnchorDataset[];
  /** Folder of an anchor cache. */
  cacheDir?: string;
  /** The policy in training; its features say what a batch holds. */
  policy: Policy;
  /** The run's own processors. */
  processors: PolicyProcessors;
  batchSize: number;
  /** Decides which anchors are used and their order, and nothing else does. */
  seed: number;
  /** How much of the source is used. Default: all. */
  select?: RowSelection;
  /** Draw every task equally often. Default: every frame. */
  balanceTasks?: boolean;
  /** Targets a batch must have. Default: the policy's own loss (`task`). */
  needs?: AnchorNeeds;
  /** How datasets are read; without effect on a cache. */
  reading?: AnchorReading & {
    numWorkers?: number;
    frameCache?: string | null;
    imageTransforms?: ConstructorParameters<typeof CameraBatches>[1];
  };
}

/**
 * The one call to get anchor batches: shuffled by the seed, without end, every sample once per epoch. Batch `k` is a function of the
 * options and `k` alone, so a run resumes from its step number, and the task's data and random numbers are not touched.
 *
 * Batches are preprocessed for the policy. From a cache they also hold the targets that `needs` asks for, on the policy's device,
 * floating ones as float32: `anchor.hidden` [B, n_layers, n_poolings, H], `anchor.feature` [B, H], `anchor.action` [B, chunk, a]
 * (normalised), `anchor.token_labels` int64 and `anchor.token_mask` bool [B, T].
 *
 * @throws CraftError `ANCHORS_MISSING` without a source; `ANCHOR_CACHE_…`, `ANCHOR_SHARD_…` for a cache that cannot be read;
 * `ANCHOR_KIND`, `ANCHOR_FEATURES`, `ANCHOR_STALE`, `ANCHOR_GEOMETRY` for one that does not fit this run, saying what to rebuild;
 * those of datasets
 *
 * @example
 * ```ts
 * const anchors = await createAnchorDataLoader({ cacheDir: 'anchors/kitchen', policy, processors, batchSize: 16, seed: 1 });
 * await anchors.ready(0);
 * const { loss } = policy.call(anchors.batch(0));
 * await anchors.close();
 * ```
 */
export async function createAnchorDataLoader(options: AnchorLoaderOptions): Promise<AnchorLoader> {
  const { datasets = [], cacheDir = '', needs = { kinds: ['task'] } } = options;
  if (cacheDir !== '') return CachedAnchors.open(cacheDir, needs, options);
  if (datasets.length === 0) {
    const remedy = 'give craft.anchor_dataset_path or craft.anchor_cache_dir';
    throw new CraftError('ANCHORS_MISSING', `anchors come from nowhere; ${remedy}`);
  }
  const targets = needs.kinds.filter((kind) => kind !== 'task');
  if (targets.length > 0) {
    const remedy = `build a cache with craft anchors build --kinds=${targets.join()} and give craft.anchor_cache_dir`;
    throw new CraftError(
      'ANCHOR_KIND',
      `a dataset has no teacher's targets, this run needs ${targets.join(', ')}; ${remedy}`,
    );
  }
  return datasetAnchors(datasets, options);
}

async function datasetAnchors(
  datasets: readonly AnchorDataset[],
  options: AnchorLoaderOptions,
): Promise<AnchorLoader> {
  const { policy, processors, batchSize, seed, select = {}, balanceTasks, reading = {} } = options;
  const source = await openAnchorSource(datasets, policy.config, reading);
  const rows = selectRows(source.table, select, seed);
  const sampler = rowSampler(source.table, rows, { balanceTasks, weights: source.weights }, seed);
  const batches = new CameraBatches(policy.config.input_features, reading.imageTransforms ?? null, seed);
  const cameras =
    batches.cameras.length === 0
      ? null
      : {
          batches,
          loader: new FrameLoader(source.members, {
            cameras: batches.cameras,
            numWorkers: reading.numWorkers,
            toleranceS: reading.toleranceS,
            frameCache: reading.frameCache,
          }),
        };
  const preprocess = processors.preprocess.bind(processors);
  const stream = new DataStream(source, sampler, batchSize, preprocess, cameras);
  return Object.assign(stream, { metadata: null });
}

/** Batches of a cache. Reading a batch is fast enough to need no preparation. */
class CachedAnchors implements AnchorLoader {
  readonly batchSize: number;
  readonly #names: readonly string[];
  readonly #cameras: readonly string[];

  private constructor(
    private readonly cache: AnchorCacheDataset,
    private readonly sampler: FrameSampler,
    private readonly needs: AnchorNeeds,
    private readonly features: FeaturePlace | null,
    private readonly options: AnchorLoaderOptions,
  ) {
    this.batchSize = options.batchSize;
    this.#cameras = Object.keys(cache.metadata.images);
    const targets = needs.kinds.flatMap((kind) => {
      if (kind === 'task') return [];
      if (kind === 'hidden' || kind === 'feature') return [features!.tensor];
      return [...TARGETS[kind], ...(kind === 'action' ? ['anchor.action_mask'] : [])];
    });
    const outputs = needs.kinds.includes('task') || needs.kinds.includes('token_ce');
    this.#names = Object.keys(cache.metadata.tensors).filter((name) => {
      if (name.startsWith('anchor.')) return targets.includes(name);
      return outputs || !name.startsWith('action');
    });
  }

  static open(dir: string, needs: AnchorNeeds, options: AnchorLoaderOptions): CachedAnchors {
    const { policy, processors, seed, select = {}, balanceTasks } = options;
    const cache = AnchorCacheDataset.open(dir);
    try {
      const features = checkNeeds(cache, needs, policy.config, processors);
      const { table } = cache;
      const rows = selectRows(table, select, seed);
      const sampler = rowSampler(table, rows, { balanceTasks }, seed);
      const loader = new CachedAnchors(cache, sampler, needs, features, options);
      if (features !== null) loader.#checkStudent(features);
      return loader;
    } catch (error) {
      cache.close();
      throw error;
    }
  }

  // The student's own features of one sample, which must compare with the teacher's; draws no random numbers.
  #checkStudent({ tensor }: FeaturePlace): void {
    const { metadata, dir } = this.cache;
    const has = metadata.hidden ?? metadata.feature!;
    scope(() =>
      noGrad(() => {
        const batch = this.#batch([this.sampler.epochOrder(0)[0]!]);
        const states = this.options.policy.hiddenStates(batch).layers.length;
        const [layer] = metadata.hidden?.layers ?? [metadata.feature!.layer];
        const [pooling] = metadata.hidden?.poolings ?? [metadata.feature!.pooling];
        const size = extractFeatures(this.options.policy, batch, {
          layers: [layer!],
          poolings: [pooling!],
        }).size(-1);
        const theirs = `${has.hidden_size} wide${has.num_states === null ? '' : `, from ${has.num_states - 1} layers`}`;
        if (size === has.hidden_size && (has.num_states ?? states) === states) return;
        const ours = `${size} wide, from ${states - 1} layers`;
        throw new CraftError(
          'ANCHOR_GEOMETRY',
          `${dir}: ${tensor} is ${theirs}, the policy's hidden states are ${ours}; build the cache anew with this run's policy`,
        );
      }),
    );
  }

  get metadata(): AnchorCacheMetadata {
    return this.cache.metadata;
  }

  get framesPerEpoch(): number {
    return this.sampler.length;
  }

  ready(): Promise<void> {
    return Promise.resolve();
  }

  batch(step: number): TensorBatch {
    return this.#batch(this.sampler.batchIndices(step, this.batchSize));
  }

  #batch(rows: readonly number[]): TensorBatch {
    const { processors } = this.options;
    return scope(() =>
      noGrad(() => {
        const { tensors, tasks } = this.cache.read(rows, this.#names);
        const entries = Object.entries(tensors);
        const own = entries.filter(([name]) => !name.startsWith('anchor.'));
        const inputs = fromStored(Object.fromEntries(own), this.#cameras);
        const device = this.#device();
        const batch = this.metadata.preprocessed
          ? onDevice(inputs, device)
          : processors.preprocess(inputs, { task: tasks });
        const targets = entries.filter(([name]) => name.startsWith('anchor.'));
        return { ...batch, ...onDevice(this.#targets(Object.fromEntries(targets)), device) };
      }),
    );
  }

  #device(): string {
    for (const [, parameter] of this.options.policy.namedParameters()) return parameter.device;
    return 'cpu';
  }

  // The layers and poolings asked for, under the names of the kinds asked for.
  #targets(stored: Record<string, Tensor>): TensorBatch {
    const { 'anchor.hidden': hidden, 'anchor.feature': feature, ...targets } = stored;
    if (this.features === null) return floats(targets);
    const { layers, poolings } = this.features;
    const all = hidden ?? feature!.view([-1, 1, 1, feature!.size(-1)]);
    const pick = (values: Tensor, dim: number, indices: readonly number[]) =>
      indices.length === values.size(dim) && indices.every((index, i) => index === i)
        ? values
        : values.indexSelect(dim, indexTensor(indices));
    const chosen = pick(pick(all, 1, layers), 2, poolings);
    if (this.needs.kinds.includes('hidden')) targets['anchor.hidden'] = chosen;
    if (this.needs.kinds.includes('feature')) targets['anchor.feature'] = chosen.select(1, 0).select(1, 0);
    return floats(targets);
  }

  close(): Promise<void> {
    this.cache.close();
    return Promise.resolve();
  }
}

function indexTensor(indices: readonly number[]): Tensor {
  return torchTensor(BigInt64Array.from(indices, BigInt));
}

function floats(targets: TensorBatch): TensorBatch {
  return Object.fromEntries(
    Object.entries(targets).map(([name, values]) => [
      name,
      values.dtype === 'float16' ? values.to({ dtype: 'float32' }) : values,
    ]),
  );
}

function onDevice(batch: TensorBatch, device: string): TensorBatch {
  if (device === 'cpu') return batch;
  return Object.fromEntries(Object.entries(batch).map(([name, values]) => [name, values.to({ device })]));
}
