import { type Batch, type FrameLoader, type LoadedFrames, subsetIndex } from '@craft-ft/datasets';
import type { Policy, PolicyProcessors, TensorBatch } from '@craft-ft/policies';
import { CraftError, cat, noGrad, scope, type Tensor, tensor } from '@craft-ft/torch';
import { toTensors } from '@craft-ft/training';
import { extractFeatures, type FeatureSpec } from '../features.js';
import { finishedShard, type ShardNotes, shardName, type TensorTable, writeShard } from './cache.js';
import type { AnchorKind } from './config.js';
import { fromStored, inputKeys, outputKeys, storedImages, storedSizes } from './inputs.js';
import type { AnchorSource } from './source.js';

/** A teacher and the data its targets are computed for. */
export interface Build {
  readonly policy: Policy;
  readonly processors: PolicyProcessors;
  readonly source: AnchorSource;
  /** null for a policy without cameras. */
  readonly loader: FrameLoader | null;
  readonly request: TargetRequest;
  readonly batchSize: number;
}

interface Loaded {
  batch: Batch;
  frames: Record<string, LoadedFrames>;
}

/** Batches of rows in order; the frames of the next are decoded while one is used. */
async function* batches(
  { source, loader, batchSize }: Build,
  rows: readonly number[],
): AsyncGenerator<Loaded> {
  const load = (start: number): Promise<Loaded> | null => {
    if (start >= rows.length) return null;
    const batch = source.batch(rows.slice(start, start + batchSize).map(subsetIndex));
    const loaded = (loader?.loadBatch(batch) ?? Promise.resolve({})).then((frames) => ({ batch, frames }));
    // Errors are thrown where the promise is awaited.
    loaded.catch(() => {});
    return loaded;
  };
  let next = load(0);
  for (let start = 0; next !== null; start += batchSize) {
    const current = await next;
    next = load(start + batchSize);
    yield current;
    loader?.release(current.frames);
  }
}

/** The tensors of samples as the cache stores them, inputs and recorded actions apart; in the current scope. */
function storedInputs(
  { policy }: Build,
  { batch, frames }: Loaded,
): { inputs: TensorBatch; outputs: TensorBatch } {
  const columns = toTensors(batch);
  const present = Object.keys(columns);
  const pick = (keys: string[]) => Object.fromEntries(keys.map((key) => [key, columns[key]!]));
  const images = [...storedSizes(policy.config)].map(([camera, size]) => [
    camera,
    storedImages(frames[camera]!, batch.tasks.length, size),
  ]);
  return {
    inputs: { ...pick(inputKeys(policy.config, present)), ...Object.fromEntries(images) },
    outputs: pick(outputKeys(policy.config, present)),
  };
}

// The policy gets the stored tensors, read the same way as in training.
function policyBatch(
  { policy, processors }: Build,
  stored: TensorBatch,
  tasks: readonly string[],
): TensorBatch {
  return processors.preprocess(fromStored(stored, storedSizes(policy.config).keys()), { task: tasks });
}

/**
 * Computes the samples of some rows and writes them as a shard.
 *
 * @param onProgress called with the samples done
 */
export async function makeShard(
  build: Build,
  rows: readonly number[],
  dir: string,
  file: string,
  fingerprint: string,
  onProgress: (done: number) => void,
): Promise<{ notes: ShardNotes; tensors: TensorTable }> {
  const { kinds } = build.request;
  const parts = new Map<string, Tensor[]>();
  const squares: Record<string, number[]> = {};
  const counts = kinds.includes('hidden') || kinds.includes('feature');
  let [done, states] = [0, 0];
  try {
    for await (const loaded of batches(build, rows)) {
      const made = scope(() =>
        noGrad(() => {
          const { inputs, outputs } = storedInputs(build, loaded);
          const batch = policyBatch(build, { ...inputs, ...outputs }, loaded.batch.tasks);
          const targets = computeTargets(build.policy, batch, build.request);
          if (counts && done === 0 && file === shardName(0))
            states = build.policy.hiddenStates(batch).layers.length;
          addSquares(squares, sumsOfSquares(targets));
          return { ...inputs, ...(kinds.includes('task') ? outputs : {}), ...targets };
        }),
      );
      for (const [name, values] of Object.entries(made)) {
        const list = parts.get(name) ?? [];
        parts.set(name, [...list, values]);
      }
      done += loaded.batch.tasks.length;
      onProgress(done);
    }
    const notes: ShardNotes = { fingerprint, squares, states };
    scope(() => {
      const tensors = new Map([...parts].map(([name, values]) => [name, cat(values, 0)]));
      writeShard(dir, file, tensors, notes);
    });
  } finally {
    for (const tensor of [...parts.values()].flat()) tensor.dispose();
  }
  return finishedShard(dir, file, fingerprint, rows.length)!;
}

/** Adds sums of squares to those so far. */
export function addSquares(sum: Record<string, number[]>, more: Readonly<Record<string, number[]>>): void {
  for (const [name, values] of Object.entries(more)) {
    const known = sum[name] ?? values.map(() => 0);
    sum[name] = known.map((value, i) => value + values[i]!);
  }
}

/**
 * Pooled features of rows, for a selection: the first layer and pooling of the request.
 *
 * @returns `[n, H]` float32 on the CPU; belongs to the caller
 */
export async function poolFeatures(
  build: Build,
  rows: readonly number[],
  onProgress: (done: number) => void,
): Promise<Tensor> {
  const { layers, poolings } = build.request.features;
  const spec = { layers: layers.slice(0, 1), poolings: poolings.slice(0, 1) };
  const parts: Tensor[] = [];
  let done = 0;
  try {
    for await (const loaded of batches(build, rows)) {
      const part = scope(() =>
        noGrad(() => {
          const { inputs } = storedInputs(build, loaded);
          const features = extractFeatures(
            build.policy,
            policyBatch(build, inputs, loaded.batch.tasks),
            spec,
          );
          return features.to({ dtype: 'float32', device: 'cpu' }).reshape([-1, features.size(-1)]);
        }),
      );
      parts.push(part);
      done += loaded.batch.tasks.length;
      onProgress(done);
    }
    return scope(() => cat(parts, 0)).keep();
  } finally {
    for (const part of parts) part.dispose();
  }
}

/** Where the action-token labels of `token_ce` come from. */
export type TokenSource = 'teacher' | 'recorded';

/** Which targets to compute, and how. */
export interface TargetRequest {
  readonly kinds: readonly AnchorKind[];
  /** For `hidden`; `feature` is the first layer and pooling. */
  readonly features: FeatureSpec;
  readonly tokenSource: TokenSource;
  /** How targets are stored. */
  readonly dtype: 'float16' | 'float32';
}

/** A policy that generates action tokens, such as pi0_fast. */
interface TokenPolicy {
  generateTokens(batch: TensorBatch): number[][];
}

/**
 * A frozen teacher's targets for a batch, on the CPU, as a cache stores them. Evaluation mode, no graph, no random numbers (except when
 * the policy decodes with a temperature).
 *
 * @param batch preprocessed, with the recorded actions
 * @throws CraftError `ANCHOR_KIND` where the policy has no such target; `ANCHOR_NOT_FINITE` for a target that float16 cannot hold
 */
function computeTargets(policy: Policy, batch: TensorBatch, request: TargetRequest): Record<string, Tensor> {
  const { kinds, features } = request;
  return scope(() =>
    noGrad(() => {
      const targets: Record<string, Tensor> = {};
      if (kinds.includes('hidden') || kinds.includes('feature')) {
        const spec = kinds.includes('hidden')
          ? features
          : { layers: features.layers.slice(0, 1), poolings: features.poolings.slice(0, 1) };
        const hidden = extractFeatures(policy, batch, spec);
        if (kinds.includes('hidden')) targets['anchor.hidden'] = stored(hidden, request.dtype, 'hidden');
        if (kinds.includes('feature'))
          targets['anchor.feature'] = stored(hidden.select(1, 0).select(1, 0), request.dtype, 'feature');
      }
      if (kinds.includes('action'))
        targets['anchor.action'] = stored(policy.predictActionChunk(batch), request.dtype, 'action');
      if (kinds.includes('token_ce'))
        Object.assign(targets, tokenTargets(policy, batch, request.tokenSource));
      return targets;
    }),
  );
}

function stored(values: Tensor, dtype: 'float16' | 'float32', kind: AnchorKind): Tensor {
  const result = values.to({ dtype, device: 'cpu' }).contiguous();
  if (Number(result.isfinite().all().item()) === 1) return result;
  const largest = values.abs().max().item();
  const why =
    dtype === 'float16' && Number.isFinite(largest)
      ? `values up to ${largest.toPrecision(3)}, beyond float16; use --dtype=float32`
      : 'NaN or infinite values; is the checkpoint intact?';
  throw new CraftError('ANCHOR_NOT_FINITE', `the teacher's ${kind} targets have ${why}`);
}

/** Labels begin with BOS, as the tokens of recorded actions do; the teacher's end with "|". */
function tokenTargets(policy: Policy, batch: TensorBatch, source: TokenSource): Record<string, Tensor> {
  const { 'action.tokens': recorded, 'action.token_mask': mask } = batch;
  if (recorded === undefined || mask === undefined || !('generateTokens' in policy)) {
    const remedy = 'choose other --kinds, such as hidden or action';
    throw new CraftError(
      'ANCHOR_KIND',
      `token_ce: policy.type=${policy.config.type} has no action tokens; ${remedy}`,
    );
  }
  if (source === 'recorded')
    return {
      'anchor.token_labels': recorded.to({ dtype: 'int64', device: 'cpu' }),
      'anchor.token_mask': mask.to({ dtype: 'bool', device: 'cpu' }),
    };
  const rows = (policy as unknown as TokenPolicy).generateTokens(batch);
  const bos = Number(recorded.select(0, 0).select(0, 0).item());
  // The longest sequence the policy takes.
  const length = Math.min(recorded.size(1), Math.max(...rows.map((row) => row.length)) + 1);
  const labels = new BigInt64Array(rows.length * length);
  const valid = new Uint8Array(rows.length * length);
  rows.forEach((row, i) => {
    const end = row.findLastIndex((token) => token !== 0) + 1;
    const tokens = [bos, ...row.slice(0, end)].slice(0, length);
    labels.set(tokens.map(BigInt), i * length);
    valid.fill(1, i * length, i * length + tokens.length);
  });
  const shape = [rows.length, length];
  return {
    'anchor.token_labels': tensor(labels, { shape }),
    'anchor.token_mask': tensor(valid, { shape, dtype: 'bool' }),
  };
}

/** Sums of squares of the feature targets, by tensor: one per layer and pooling. */
export function sumsOfSquares(targets: Readonly<Record<string, Tensor>>): Record<string, number[]> {
  const squares: Record<string, number[]> = {};
  for (const name of ['anchor.hidden', 'anchor.feature']) {
    const values = targets[name];
    if (values === undefined) continue;
    squares[name] = scope(() =>
      noGrad(() => {
        const rows = values.to({ dtype: 'float64' }).square();
        const width = rows.size(-1);
        return Array.from(
          rows
            .reshape([rows.size(0), -1, width])
            .sum([0, 2])
            .toTypedArray() as Float64Array,
        );
      }),
    );
  }
  return squares;
}
