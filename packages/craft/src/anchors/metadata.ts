import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CraftError } from '@craft-ft/torch/errors';
import { z } from 'zod';
import { anchorKindSchema } from './config.js';

/** Version of the format; a reader refuses any other. */
export const ANCHOR_CACHE_VERSION = 1;

/** File that makes a folder an anchor cache; written last, so that a cache without it is an unfinished one. */
export const ANCHOR_METADATA_FILE = 'metadata.json';

/** Pooling of a feature, see `poolHiddenStates`. */
const poolingSchema = z.enum(['mean_image_tokens', 'mean_masked', 'last_token', 'cls_token']);

const tensorSchema = z.strictObject({
  /** As safetensors writes it: `F16`, `U8`, … */
  dtype: z.string(),
  /** Of one sample. */
  shape: z.array(z.int().min(0)),
});

const shardSchema = z.strictObject({
  file: z.string().regex(/^shard_\d{5}\.safetensors$/),
  count: z.int().min(1),
  sha256: z.string(),
});

const whole = z.int().min(0);
const counts = z.array(whole);

/** Everything about a cache: see each field. Fields of a kind that the cache lacks are null. */
export const anchorCacheMetadataSchema = z.strictObject({
  format: z.literal('craft-anchor-cache'),
  version: z.literal(ANCHOR_CACHE_VERSION),
  /** Hash of the request that the cache was built for: the same command finds it complete. */
  fingerprint: z.string(),
  kinds: z.array(anchorKindSchema).min(1),
  /**
   * false: inputs as the dataset has them, before the policy's processors. true (imported caches): inputs as the policy itself takes
   * them, token ids included; the run's processors are not applied.
   */
  preprocessed: z.boolean(),
  num_samples: z.int().min(1),
  shard_size: z.int().min(1),
  shards: z.array(shardSchema).min(1),
  /** Stored tensors by name. */
  tensors: z.record(z.string(), tensorSchema),
  /** dtype of the teacher's targets. */
  dtype: z.enum(['float16', 'float32']),
  seed: whole.nullable(),
  selection: z.strictObject({
    strategy: z.string(),
    /** Frames that were chosen among. null: all, without looking at features. */
    pool_size: whole.nullable(),
    /**
     * How far the frames of that pool lie from the nearest anchor, in the teacher's features: the furthest and the mean, in units of
     * the pool's own root-mean-square distance from its centre. null where no features were looked at.
     */
    coverage: z.strictObject({ radius: z.number(), mean: z.number() }).nullable(),
  }),
  teacher: z
    .strictObject({
      path: z.string(),
      type: z.string(),
      /** Over the weight files, in the order of their names. */
      weights_sha256: z.string().nullable(),
      /** By step of the preprocessor; null where it is not known. */
      processor: z.record(z.string(), z.string()).nullable(),
    })
    .nullable(),
  datasets: z.array(
    z.strictObject({
      repo_id: z.string(),
      revision: z.string().nullable(),
      fps: z.number().nullable(),
      episodes: whole.nullable(),
      frames: whole.nullable(),
    }),
  ),
  /** Which frame each sample is: position in `datasets`, episode, frame in it. null where it is not known. */
  frames: z.strictObject({ dataset: counts, episode: counts, frame: counts }).nullable(),
  /** Distinct instructions; `task_index` has the instruction of each sample. */
  tasks: z.array(z.string()),
  task_index: counts,
  /** Stored images by policy key, uint8 unless `tensors` says otherwise. */
  images: z.record(z.string(), z.strictObject({ height: z.int(), width: z.int() })),
  hidden: z
    .strictObject({
      /** Index into the n_layers + 1 hidden states, from 0 or, negative, from the end. */
      layers: z.array(z.int()).min(1),
      poolings: z.array(poolingSchema).min(1),
      hidden_size: z.int().min(1),
      /** How many hidden states the teacher has: its layers + 1. null where it is not known. */
      num_states: z.int().min(1).nullable(),
      /** Mean square of the stored features, [layer][pooling]: what a normalised loss divides by. */
      second_moment: z.array(z.array(z.number())),
    })
    .nullable(),
  feature: z
    .strictObject({
      layer: z.int(),
      pooling: poolingSchema,
      hidden_size: z.int().min(1),
      num_states: z.int().min(1).nullable(),
      second_moment: z.number(),
    })
    .nullable(),
  action: z.strictObject({ chunk: z.int().min(1), dim: z.int().min(1) }).nullable(),
  tokens: z.strictObject({ source: z.string(), length: z.int().min(1) }).nullable(),
  versions: z.record(z.string(), z.string()),
  /** Remarks about this cache for its users. */
  notes: z.array(z.string()),
});

/** Type of {@link anchorCacheMetadataSchema}: what `metadata.json` of an anchor cache holds. */
export type AnchorCacheMetadata = z.infer<typeof anchorCacheMetadataSchema>;

/**
 * Reads and checks `metadata.json` of an anchor cache.
 *
 * @throws CraftError `ANCHOR_CACHE_MISSING` where there is none, `ANCHOR_CACHE_INCOMPLETE` for an interrupted build,
 * `ANCHOR_CACHE_FOREIGN` for one written by the Python project, `ANCHOR_CACHE_INVALID` naming the field
 */
export function readAnchorMetadata(dir: string): AnchorCacheMetadata {
  const path = join(dir, ANCHOR_METADATA_FILE);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw missing(dir, error);
  }
  const json = parseJson(text, path);
  if (isForeign(json)) {
    const remedy = `convert it with craft anchors import ${dir} --output_dir=…`;
    throw new CraftError('ANCHOR_CACHE_FOREIGN', `${path}: a cache of the Python project; ${remedy}`);
  }
  const result = anchorCacheMetadataSchema.safeParse(json);
  if (!result.success) {
    const [issue] = result.error.issues;
    const field = issue!.path.map(String).join('.') || 'the file';
    throw invalid(path, `${field}: ${issue!.message}`);
  }
  checkCounts(result.data, path);
  return result.data;
}

function missing(dir: string, error: unknown): CraftError {
  const options = { cause: error };
  try {
    readFileSync(join(dir, ANCHOR_BUILD_FILE));
  } catch {
    const message = `${dir}: no ${ANCHOR_METADATA_FILE} here; expected a folder that craft anchors build wrote`;
    return new CraftError('ANCHOR_CACHE_MISSING', message, options);
  }
  const remedy =
    'its build was interrupted; run the same craft anchors build again, which goes on where it stopped';
  return new CraftError(
    'ANCHOR_CACHE_INCOMPLETE',
    `${dir}: no ${ANCHOR_METADATA_FILE} yet: ${remedy}`,
    options,
  );
}

/** Lies beside the shards of an unfinished build: what is being built, and from which frames. */
export const ANCHOR_BUILD_FILE = 'build.json';

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalid(path, (error as Error).message);
  }
}

function isForeign(json: unknown): boolean {
  return (
    typeof json === 'object' &&
    json !== null &&
    !('format' in json) &&
    ('num_anchors' in json || 'num_samples' in json)
  );
}

// Rules between the fields.
function checkCounts(metadata: AnchorCacheMetadata, path: string): void {
  const { num_samples: count, shards, task_index: tasks, frames, kinds } = metadata;
  const stored = shards.reduce((sum, shard) => sum + shard.count, 0);
  if (stored !== count) throw invalid(path, `num_samples is ${count}, the shards hold ${stored}`);
  const columns = [tasks, ...(frames === null ? [] : [frames.dataset, frames.episode, frames.frame])];
  if (columns.some((column) => column.length !== count))
    throw invalid(path, `task_index and frames must have num_samples (${count}) entries each`);
  if (tasks.some((task) => task >= metadata.tasks.length))
    throw invalid(path, `task_index names a task beyond the ${metadata.tasks.length} of tasks`);
  for (const kind of ['hidden', 'feature', 'action'] as const) {
    if (kinds.includes(kind) && metadata[kind] === null)
      throw invalid(path, `kinds has ${kind}, but the field ${kind} is null`);
  }
}

function invalid(path: string, what: string): CraftError {
  return new CraftError('ANCHOR_CACHE_INVALID', `${path}: ${what}; build the cache anew`);
}

/** Version of this package; a cache says which one wrote it. */
export const VERSION: string = readVersion();

function readVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return (manifest as { version: string }).version;
}
