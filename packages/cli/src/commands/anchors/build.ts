import { anchorKindSchema, anchorSelectionSchema, poolingSchema } from '@craft-ft/craft/config';
import { datasetConfigSchema, validateDataset } from '@craft-ft/training/config';
import { z } from 'zod';
import { subcommandOf } from '../../command-of.js';
import { StageProgress } from '../../stage-progress.js';

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

export const anchorsBuild = subcommandOf({
  name: 'anchors build',
  about:
    'Builds an anchor cache from a dataset and a frozen teacher: samples of the old tasks with what the teacher makes of them. ' +
    'Training with craft.anchor_cache_dir then needs neither. Run it again to go on after an interruption.',
  schema,
  lists: ['kinds', 'layers', 'pooling', 'gripper_dims'],
  validate: (config) => validateDataset(config.dataset),
  run: async (config, output) => {
    const { buildAnchorCache, anchorCacheInfo } = await import('@craft-ft/craft');
    const { formatInfo } = await import('./format-info.js');
    const { mixture, ...main } = config.dataset;
    const others = (mixture ?? []).map(({ weight: _, ...other }) => ({ ...other, exclude_episodes: null }));
    const progress = new StageProgress(output);
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
          onInfo: (line) => progress.print(line),
          onWarning: (line) => progress.warn(line),
        },
        onProgress: (stage, done, total) => progress.update(stage, done, total),
      });
    } finally {
      progress.stop();
    }
    for (const line of formatInfo(anchorCacheInfo(config.output_dir))) output.out(`${line}\n`);
    return 0;
  },
});
