import type { AnchorCacheInfo } from '@craft-ft/craft';
import { anchorKindSchema, anchorSelectionSchema, poolingSchema } from '@craft-ft/craft/config';
import { datasetConfigSchema, validateDataset } from '@craft-ft/training/config';
import { z } from 'zod';
import { subcommands } from '../command.js';
import { subcommandOf } from '../command-of.js';
import { stageProgress } from '../progress.js';

const schema = z.strictObject({
  policy: z.strictObject({
    path: z.string().min(1).describe('The frozen teacher: a run, a checkpoint or a model folder.'),
  }),
  dataset: datasetConfigSchema
    .pick({
      repo_id: true,
      root: true,
      episodes: true,
      exclude_episodes: true,
      revision: true,
      mixture: true,
    })
    .describe('Data of the old tasks. Weights of a mixture have no effect here.'),
  output_dir: z
    .string()
    .min(1)
    .describe('Folder for the cache. An interrupted build in it goes on where it stopped.'),
  kinds: z
    .array(anchorKindSchema)
    .min(1)
    .default(['task'])
    .describe(
      "What is kept besides the policy's inputs. task: recorded actions, for retention_mode=loss. The others are what the " +
        'teacher makes of the inputs: token_ce: action tokens; hidden: pooled hidden states; feature: one of them; action: actions.',
    ),
  num_anchors: z
    .int()
    .min(1)
    .default(1000)
    .describe('Samples; all frames where there are fewer. Typical: 500 to 5000.'),
  selection: anchorSelectionSchema
    .default('uniform')
    .describe(
      'How frames are chosen. uniform: by chance; per_task: the same number of every task; kmeans: one for each cluster of the ' +
        "teacher's features, so that rare situations are kept; herding: so that their mean is that of all; events: where the " +
        'gripper moves or the speed changes. kmeans covers most with few anchors.',
    ),
  pool_size: z
    .int()
    .min(1)
    .default(4000)
    .describe(
      'kmeans and herding: frames to choose among, drawn evenly over the tasks; the teacher sees each.',
    ),
  gripper_dims: z
    .array(z.int().min(0))
    .nullable()
    .default(null)
    .describe(
      'events: dimensions of the action that move grippers. null: told by their names, else by their values.',
    ),
  layers: z
    .array(z.int())
    .min(1)
    .default([-2])
    .describe(
      'hidden and feature (the first): which hidden states, 0 the embeddings, negative from the end. Several let training choose.',
    ),
  pooling: z
    .array(poolingSchema)
    .min(1)
    .default(['mean_masked'])
    .describe('hidden and feature (the first): which tokens make a vector.'),
  token_source: z
    .enum(['teacher', 'recorded'])
    .default('teacher')
    .describe("token_ce: the teacher's own most likely tokens, or those of the recorded actions."),
  dtype: z
    .enum(['float16', 'float32'])
    .default('float16')
    .describe('How targets are stored. float16 halves them and is precise enough for a loss.'),
  batch_size: z.int().min(1).default(16).describe('Samples at a time; changes the speed only.'),
  seed: z.int().min(0).default(0).describe('Decides which frames are drawn.'),
  shard_size: z.int().min(1).default(256).describe('Samples per file.'),
  device: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('Where the teacher runs: cpu, cuda. null: as its configuration says.'),
  num_workers: z.int().min(0).default(4).describe('Threads that decode camera frames.'),
  rename_map: z
    .record(z.string(), z.string())
    .default({})
    .describe('Dataset key to policy key, as in craft train.'),
  tolerance_s: z.number().gt(0).default(1e-4).describe('How far a frame may lie from its time, in seconds.'),
  overwrite: z.boolean().default(false).describe('Delete another cache that is in the folder.'),
});

const anchorsBuild = subcommandOf({
  name: 'anchors build',
  about:
    'Builds an anchor cache from a dataset and a frozen teacher: samples of the old tasks with what the teacher makes of them. ' +
    'Training with craft.anchor_cache_dir then needs neither. Run it again to go on after an interruption.',
  schema,
  lists: ['kinds', 'layers', 'pooling', 'gripper_dims'],
  validate: (config) => validateDataset(config.dataset),
  run: async (config, output) => {
    const { buildAnchorCache, anchorCacheInfo } = await import('@craft-ft/craft');
    const { mixture, ...main } = config.dataset;
    const others = (mixture ?? []).map(({ weight: _, ...other }) => ({ ...other, exclude_episodes: null }));
    const progress = stageProgress(output);
    try {
      await buildAnchorCache({
        teacher: config.policy.path,
        datasets: [main, ...others].map((choice) => ({ choice })),
        outputDir: config.output_dir,
        kinds: config.kinds,
        numAnchors: config.num_anchors,
        selection: config.selection,
        poolSize: config.pool_size,
        gripperDims: config.gripper_dims,
        layers: config.layers,
        poolings: config.pooling,
        dtype: config.dtype,
        tokenSource: config.token_source,
        batchSize: config.batch_size,
        seed: config.seed,
        shardSize: config.shard_size,
        device: config.device,
        overwrite: config.overwrite,
        numWorkers: config.num_workers,
        reading: {
          renameMap: config.rename_map,
          toleranceS: config.tolerance_s,
          onInfo: (line) => progress.print(line, 'err'),
          onWarning: (line) => progress.warn(line),
        },
        onProgress: (stage, done, total) => progress.stage(stage, done, total),
      });
    } finally {
      progress.stop();
    }
    for (const line of formatInfo(anchorCacheInfo(config.output_dir))) output.out(`${line}\n`);
    return 0;
  },
});

const anchorsImport = subcommandOf({
  name: 'anchors import',
  about:
    'Converts an anchor cache of the Python project (shard_*.pt, metadata.json), executing nothing that is in it. The result holds ' +
    'token ids and images as pi0_fast takes them, and is used as it is.',
  leading: { field: 'from', usage: 'FOLDER' },
  schema: z.strictObject({
    from: z.string().min(1).describe('Folder of that cache; may be given as the first word.'),
    output_dir: z.string().min(1).describe('Folder for the result; must not exist yet, or be empty.'),
    image_key: z
      .string()
      .min(1)
      .nullable()
      .default(null)
      .describe('Policy key of the camera whose images it has. null: the first of its metadata.'),
    bos_id: z.int().min(0).default(2).describe("Id of BOS in the policy's tokenizer; PaliGemma's is 2."),
    dtype: z.enum(['float16', 'float32']).default('float16').describe('How targets are stored.'),
    shard_size: z.int().min(1).default(256).describe('Samples per file.'),
    overwrite: z.boolean().default(false).describe('Delete another cache that is in the folder.'),
  }),
  run: async (config, output) => {
    const { importAnchorCache } = await import('@craft-ft/python-caches');
    const { anchorCacheInfo } = await import('@craft-ft/craft');
    const progress = stageProgress(output);
    try {
      await importAnchorCache({
        from: config.from,
        outputDir: config.output_dir,
        imageKey: config.image_key,
        bosId: config.bos_id,
        dtype: config.dtype,
        shardSize: config.shard_size,
        overwrite: config.overwrite,
        onWarning: (line) => progress.warn(line),
        onProgress: (done, total) => progress.stage('shards', done, total),
      });
    } finally {
      progress.stop();
    }
    for (const line of formatInfo(anchorCacheInfo(config.output_dir))) output.out(`${line}\n`);
    return 0;
  },
});

const anchorsInfo = subcommandOf({
  name: 'anchors info',
  about: 'Shows what is in an anchor cache: size, tasks, coverage, teacher, layers.',
  leading: { field: 'root', usage: 'FOLDER' },
  schema: z.strictObject({
    root: z.string().min(1).describe('Folder of the cache; may be given as the first word.'),
    verify: z
      .boolean()
      .default(false)
      .describe('Read every shard and compare it with its hash; the exit code is 1 where one differs.'),
    json: z.boolean().default(false).describe('JSON on standard output instead of text.'),
  }),
  run: async ({ root, verify, json }, output) => {
    const { anchorCacheInfo } = await import('@craft-ft/craft');
    const info = anchorCacheInfo(root, { verify });
    if (json) output.out(`${JSON.stringify(info)}\n`);
    else for (const line of formatInfo(info)) output.out(`${line}\n`);
    return (info.damaged ?? []).length === 0 ? 0 : 1;
  },
});

/** Maximum number of tasks shown. */
const TASKS = 12;

/** What `craft anchors info` prints. */
function formatInfo(info: AnchorCacheInfo): string[] {
  const { teacher, selection, notes, damaged } = info;
  const lines = [
    `${info.dir}: ${info.samples} samples of ${info.kinds.join(', ')}, ${size(info.bytes)}`,
    row('inputs', inputs(info)),
    ...targets(info).map((text) => row('targets', text)),
  ];
  if (teacher !== null) {
    const hash = teacher.weights_sha256 === null ? '' : `, weights ${teacher.weights_sha256.slice(0, 12)}`;
    lines.push(row('teacher', `${teacher.path} (${teacher.type}${hash})`));
  }
  for (const data of info.datasets) lines.push(row('dataset', dataset(data)));
  lines.push(row('selection', chosen(selection, info.seed)));
  const tasks = Object.entries(info.tasks).sort(([, a], [, b]) => b - a);
  lines.push(row('tasks', String(tasks.length)));
  for (const [task, count] of tasks.slice(0, TASKS)) lines.push(`    ${String(count).padStart(6)}  ${task}`);
  if (tasks.length > TASKS) lines.push(`            and ${tasks.length - TASKS} more`);
  for (const note of notes) lines.push(row('note', note));
  if (damaged !== null)
    lines.push(
      row('verified', damaged.length === 0 ? 'every shard is intact' : `damaged: ${damaged.join(', ')}`),
    );
  return lines;
}

function row(name: string, text: string): string {
  return `  ${name.padEnd(10)} ${text}`;
}

function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return `${(bytes / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}

function inputs({ images, preprocessed }: AnchorCacheInfo): string {
  const cameras = Object.entries(images).map(([key, { height, width }]) => `${key} ${height}×${width}`);
  const form = preprocessed ? 'preprocessed' : "before the policy's processors";
  return [...cameras, form].join(', ');
}

function targets({ hidden, feature, action, tokens, dtype }: AnchorCacheInfo): string[] {
  const lines: string[] = [];
  if (hidden !== null) {
    const parts = `layers ${hidden.layers.join(', ')}, ${hidden.poolings.join(', ')}`;
    lines.push(`hidden ${parts}, ${hidden.hidden_size} wide, ${dtype}`);
  }
  if (feature !== null)
    lines.push(`feature layer ${feature.layer}, ${feature.pooling}, ${feature.hidden_size} wide, ${dtype}`);
  if (action !== null) lines.push(`action ${action.chunk}×${action.dim}, ${dtype}`);
  if (tokens !== null) lines.push(`tokens of the ${tokens.source}, up to ${tokens.length}`);
  return lines;
}

function dataset(data: AnchorCacheInfo['datasets'][number]): string {
  const name = data.revision === null ? data.repo_id : `${data.repo_id} at ${data.revision.slice(0, 12)}`;
  if (data.samples === null || data.frames === null) return name;
  const share = ((100 * data.samples) / data.frames).toFixed(1);
  return `${name}: ${data.samples} of ${data.frames} frames (${share} %), ${data.episodes_covered} of ${data.episodes} episodes`;
}

function chosen(
  { strategy, pool_size: pool, coverage }: AnchorCacheInfo['selection'],
  seed: number | null,
): string {
  const parts = [strategy];
  if (pool !== null) parts.push(`among ${pool} frames`);
  if (seed !== null) parts.push(`seed ${seed}`);
  if (coverage !== null) {
    const [radius, mean] = [coverage.radius.toFixed(2), coverage.mean.toFixed(2)];
    parts.push(`furthest frame ${radius} from an anchor, mean ${mean} (1: the spread of all frames)`);
  }
  return parts.join(', ');
}

/** `craft anchors`: builds, shows and imports anchor caches. */
export const anchorsCommand = subcommands('anchors', {
  build: anchorsBuild,
  info: anchorsInfo,
  import: anchorsImport,
});
