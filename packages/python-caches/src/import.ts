import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type AnchorCacheMetadata, AnchorCacheWriter, fileHash, type Pooling } from '@craft-ft/craft';
import { noGrad, scope, type Tensor } from '@craft-ft/torch';
import { CraftError } from '@craft-ft/torch/errors';
import { z } from 'zod';
import { type Payload, readPayload, widened } from './payload.js';

/** Options of {@link importAnchorCache}. */
export interface ImportAnchorOptions {
  /** Folder with `shard_*.pt` and `metadata.json` of the Python project. */
  from: string;
  outputDir: string;
  /** Policy key of the camera whose images the cache has. Default: the first of the metadata's `image_keys`. */
  imageKey?: string | null;
  /** Id of BOS in the policy's tokeniser. Default 2, PaliGemma's. */
  bosId?: number;
  /** How targets are stored. Default `float16`. */
  dtype?: 'float16' | 'float32';
  /** Default 256. */
  shardSize?: number;
  overwrite?: boolean;
  /** Receives one-line warnings. Default: `console.warn`. */
  onWarning?: (line: string) => void;
  /** Called with the shards read so far. */
  onProgress?: (done: number, total: number) => void;
}

// The two Python builders spell the number of samples differently.
const foreignSchema = z.looseObject({
  num_samples: z.int().min(1).optional(),
  num_anchors: z.int().min(1).optional(),
  teacher_policy_path: z.string().optional(),
  policy_pretrained_path: z.string().optional(),
  dataset_repo_id: z.string().optional(),
  image_keys: z.array(z.string()).optional(),
  seed: z.int().min(0).optional(),
});
type Foreign = z.infer<typeof foreignSchema>;

const POOLINGS: readonly Pooling[] = ['mean_image_tokens', 'mean_masked', 'last_token', 'cls_token'];

/**
 * Converts an anchor cache of the Python project. Nothing in it is executed. The result is marked `preprocessed`: it holds inputs as
 * pi0_fast itself takes them (images in [0, 1], token ids), so training uses it without its own processors; the meaning of the tokens
 * depends on the tokeniser that the cache was built with.
 *
 * Two things that the Python builders got wrong are not carried over silently: a pooled text vector taken at a padding token is left
 * out, and `mean_image_tokens` of a pooled cache is noted to be over a guessed number of image tokens.
 *
 * @throws CraftError `ANCHOR_IMPORT`; `TORCH_FILE_…`, `PICKLE_…` for a shard that cannot be read safely; `ANCHOR_CACHE_EXISTS`
 */
export async function importAnchorCache(options: ImportAnchorOptions): Promise<AnchorCacheMetadata> {
  const { from, outputDir, dtype = 'float16', shardSize = 256, bosId = 2, onProgress = () => {} } = options;
  const foreign = readForeign(from);
  const files = readdirSync(from).filter((name) => /^shard_\d+\.pt$/.test(name));
  files.sort((a, b) => Number(a.match(/\d+/)![0]) - Number(b.match(/\d+/)![0]));
  if (files.length === 0) throw refuse(from, 'it has no shard_*.pt');
  const imageKey = options.imageKey ?? foreign.image_keys?.[0];
  if (imageKey === undefined)
    throw refuse(from, 'metadata.json names no image_keys; give the policy key of the camera as --image_key');
  const request = {
    foreign,
    files: files.map((name) => [name, fileHash(join(from, name))]),
    request: { imageKey, bosId, dtype, shardSize },
  };
  const writer = new AnchorCacheWriter(outputDir, request, { shardSize, overwrite: options.overwrite });
  if (writer.complete !== null) return writer.complete;

  const first = readMeta(join(from, files[0]!), imageKey, bosId);
  const lengths = files.map((name) => readMeta(join(from, name), imageKey, bosId));
  const count = lengths.reduce((sum, { samples }) => sum + samples, 0);
  const expected = foreign.num_samples ?? foreign.num_anchors!;
  const notes: string[] = [];
  if (count !== expected) notes.push(`metadata.json promises ${expected} samples, the shards hold ${count}`);
  for (const [i, { meta }] of lengths.entries())
    if (JSON.stringify(meta) !== JSON.stringify(first.meta))
      throw refuse(
        join(from, files[i]!),
        "its targets are of another kind, layer or pooling than the first shard's",
      );
  const keepText = lengths.every(({ textInPlace }) => textInPlace);
  const plan = targetPlan(first, keepText, notes);
  const widths = new Map<string, number>();
  for (const { widths: own } of lengths)
    for (const [name, width] of own) widths.set(name, Math.max(width, widths.get(name) ?? 0));

  const prompts: string[] = [];
  for (const [i, name] of files.entries()) {
    scope(() =>
      noGrad(() => {
        const payload = readPayload(join(from, name), { imageKey, bosId });
        prompts.push(...payload.prompts);
        writer.add(convert(payload, plan.vectors, widths, dtype, join(from, name)));
      }),
    );
    onProgress(i + 1, files.length);
  }
  writer.flush();
  const tasks = [...new Set(prompts)].sort();
  for (const note of notes) (options.onWarning ?? console.warn)(`${from}: ${note}`);
  const shape = (name: string) => writer.tensors[name]?.shape;
  const [hidden, feature, labels] = ['hidden', 'feature', 'token_labels'].map((name) =>
    shape(`anchor.${name}`),
  );
  const image = shape(imageKey)!;
  return writer.finish({
    kinds: [plan.kind],
    preprocessed: true,
    dtype,
    seed: foreign.seed ?? null,
    selection: { strategy: 'imported', pool_size: null, coverage: null },
    teacher: {
      path: foreign.teacher_policy_path ?? foreign.policy_pretrained_path ?? 'unknown',
      type: 'pi0_fast',
      weights_sha256: null,
      processor: null,
    },
    datasets: [
      {
        repo_id: foreign.dataset_repo_id ?? 'unknown',
        revision: null,
        fps: null,
        episodes: null,
        frames: null,
      },
    ],
    frames: null,
    tasks,
    task_index: prompts.map((prompt) => tasks.indexOf(prompt)),
    images: { [imageKey]: { height: image[1]!, width: image[2]! } },
    hidden:
      hidden === undefined
        ? null
        : {
            layers: [...first.meta.layers],
            poolings: plan.poolings,
            hidden_size: hidden[2]!,
            num_states: null,
            second_moment: Array.from({ length: hidden[0]! }, (_, i) =>
              writer.moments('anchor.hidden').slice(i * hidden[1]!, (i + 1) * hidden[1]!),
            ),
          },
    feature:
      feature === undefined
        ? null
        : {
            layer: first.meta.layers[0]!,
            pooling: plan.poolings[0]!,
            hidden_size: feature[0]!,
            num_states: null,
            second_moment: writer.moments('anchor.feature')[0]!,
          },
    action: null,
    tokens: labels === undefined ? null : { source: 'teacher', length: labels[0]! },
    notes,
  });
}

function readForeign(dir: string): Foreign {
  const path = join(dir, 'metadata.json');
  if (!existsSync(path)) throw refuse(path, 'the file is missing');
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw refuse(path, (error as Error).message);
  }
  const result = foreignSchema.safeParse(json);
  if (!result.success)
    throw refuse(path, `${result.error.issues[0]!.path.join('.')}: ${result.error.issues[0]!.message}`);
  if (result.data.num_samples === undefined && result.data.num_anchors === undefined)
    throw refuse(path, 'it has neither num_samples nor num_anchors');
  return result.data;
}

function refuse(path: string, what: string): CraftError {
  return new CraftError('ANCHOR_IMPORT', `${path}: ${what}; expected an anchor cache of the Python project`);
}

/** What a first pass over a shard finds. */
interface ShardFacts extends Pick<Payload, 'meta' | 'textInPlace'> {
  samples: number;
  /** Lengths of the tensors whose rows differ in length from shard to shard. */
  widths: Map<string, number>;
  vectors: number;
}

function readMeta(path: string, imageKey: string, bosId: number): ShardFacts {
  return scope(() => {
    const { meta, tensors, textInPlace } = readPayload(path, { imageKey, bosId });
    const rows = Object.entries(tensors).filter(
      ([, values]) => values.dtype === 'int64' || values.dtype === 'bool',
    );
    return {
      meta,
      textInPlace,
      samples: tensors[imageKey]!.size(0),
      widths: new Map(rows.map(([name, values]) => [name, values.size(1)])),
      vectors: tensors['anchor.hidden']?.size(2) ?? 1,
    };
  });
}

interface TargetPlan {
  kind: 'token_ce' | 'hidden' | 'feature';
  poolings: Pooling[];
  /** How many of the vectors per layer are taken over. */
  vectors: number;
}

function targetPlan({ meta, vectors }: ShardFacts, keepText: boolean, notes: string[]): TargetPlan {
  if (meta.kind === 'labels') return { kind: 'token_ce', poolings: [], vectors: 0 };
  if (meta.kind === 'target_features') {
    const pooling = POOLINGS.find((known) => known === meta.pooling);
    if (pooling === undefined)
      throw new CraftError(
        'ANCHOR_IMPORT',
        `the cache has the pooling "${meta.pooling}", which is unknown here`,
      );
    if (pooling === 'mean_image_tokens')
      notes.push(
        'its builder took the mean over a guessed number of image tokens (196 where the configuration has none; PaliGemma-224 has ' +
          '256): the features may not be those of this policy',
      );
    return { kind: 'feature', poolings: [pooling], vectors: 1 };
  }
  if (vectors === 1) return { kind: 'hidden', poolings: ['mean_image_tokens'], vectors };
  if (vectors !== 2)
    throw new CraftError(
      'ANCHOR_IMPORT',
      `the cache has ${vectors} vectors per layer; 1 or 2 are known (image mean, last text token)`,
    );
  if (keepText) return { kind: 'hidden', poolings: ['mean_image_tokens', 'last_token'], vectors };
  notes.push(
    'the pooled text vectors are left out: its builder took them at a padding token, where no student has anything to compare',
  );
  return { kind: 'hidden', poolings: ['mean_image_tokens'], vectors: 1 };
}

function convert(
  { tensors }: Payload,
  vectors: number,
  widths: ReadonlyMap<string, number>,
  dtype: 'float16' | 'float32',
  path: string,
): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, values]) => {
      const width = widths.get(name);
      if (width !== undefined) return [name, widened(values, width)];
      if (name !== 'anchor.hidden' && name !== 'anchor.feature') return [name, values];
      const part = name === 'anchor.hidden' ? values.narrow(2, 0, vectors) : values;
      const stored = part.to({ dtype }).contiguous();
      if (Number(stored.isfinite().all().item()) !== 1)
        throw refuse(path, `${name} has values that ${dtype} cannot hold (try --dtype=float32)`);
      return [name, stored];
    }),
  );
}
