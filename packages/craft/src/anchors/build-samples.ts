import { type Batch, type FrameLoader, type LoadedFrames, subsetIndex } from '@craft-ft/datasets';
import type { Policy, PolicyProcessors, TensorBatch } from '@craft-ft/policies';
import { cat, noGrad, scope, type Tensor } from '@craft-ft/torch';
import { toTensors } from '@craft-ft/training';
import { extractFeatures } from '../features.js';
import { fromStored, inputKeys, outputKeys, storedImages, storedSizes } from './inputs.js';
import { finishedShard, type ShardNotes, shardName, type TensorTable, writeShard } from './shard.js';
import type { AnchorSource } from './source.js';
import { computeTargets, sumsOfSquares, type TargetRequest } from './targets.js';

/** A teacher and the data it is asked about. */
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
    // Its error is thrown where it is waited for.
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

// What the policy is shown: the stored tensors, read as training reads them.
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
