import type { Problem } from '@craft-ft/policies/config';
import {
  imageTransformsConfigSchema,
  optimizerConfigSchema,
  peftConfigSchema,
  policyConfigSchema,
  schedulerConfigSchema,
  validateImageTransforms,
  validatePeft,
  validatePolicy,
  validateScheduler,
} from '@craft-ft/policies/config';
import { z } from 'zod';

const episodeList = z.array(z.int().min(0)).min(1).nullable().default(null);

/** Which recorded episodes to train on. Names and defaults are LeRobot's `DatasetConfig`. */
export const datasetConfigSchema = z.strictObject({
  repo_id: z
    .string()
    .min(1)
    .describe(
      'Name of the dataset, as user/name. It names the run and, when root is not given, the folder below ' +
        '$HF_LEROBOT_HOME (default ~/.cache/huggingface/lerobot) where the dataset lies.',
    ),
  root: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      'Folder of the dataset (the one that holds meta/, data/ and videos/). null: looked up from repo_id. ' +
        'Formats 2.0, 2.1 and 3.0 are read as they are.',
    ),
  episodes: episodeList.describe(
    'Episodes to use, by their index in the dataset, e.g. [28,29]. null: all. Only the files of these episodes have to ' +
      'exist, and the statistics for normalisation of a 2.1 dataset are those of these episodes.',
  ),
  exclude_episodes: episodeList.describe('Episodes to leave out of those chosen by episodes. null: none.'),
  streaming: z
    .boolean()
    .default(false)
    .describe(
      'Read the dataset file by file through a shuffle buffer of 1000 frames instead of holding its numbers in memory. The ' +
        'order is less random; resuming is exact all the same.',
    ),
  mixture: z
    .array(
      z.strictObject({
        repo_id: z.string().min(1),
        root: z.string().min(1).nullable().default(null),
        episodes: episodeList,
        weight: z.number().gt(0).default(1),
      }),
    )
    .nullable()
    .default(null)
    .meta({
      description:
        'Further datasets to train on together with this one, for joint training or replay; features must have the same shapes. ' +
        'weight: how often each is drawn from, relative to this dataset, whose weight is 1.',
      typeText: '[{repo_id, root, episodes, weight}] or null',
    }),
  revision: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      "Branch, tag or commit on the Hugging Face Hub. null: the tag of the dataset's format (v3.0, v2.1, v2.0), else main.",
    ),
  cameras: z
    .array(z.string().min(1))
    .nullable()
    .default(null)
    .describe(
      'Cameras that a new policy sees, by policy key. null: all of the dataset; []: none, training from the numbers alone.',
    ),
  image_size: z
    .tuple([z.int().min(8), z.int().min(8)])
    .nullable()
    .default(null)
    .describe(
      'Height and width of the images that a new policy sees; frames are resized to it. null: as recorded. Smaller is much ' +
        'faster: [240,320] is typical.',
    ),
  frame_cache: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      'Keep decoded camera frames, since small datasets are read many times: memory (at most 2 GiB), or a folder (0.9 MB a ' +
        'frame of 480x640). null: decode anew each time.',
    ),
  image_transforms: imageTransformsConfigSchema
    .prefault({})
    .describe('Random changes of camera images in training.'),
  use_imagenet_stats: z
    .boolean()
    .default(true)
    .describe(
      'Normalise cameras with the mean and deviation of ImageNet instead of the dataset, because image backbones are ' +
        'pretrained that way. Does nothing for a policy without image inputs.',
    ),
});
export type DatasetConfig = z.infer<typeof datasetConfigSchema>;

/** Rules between the fields of a dataset configuration. */
export function validateDataset(
  config: Pick<DatasetConfig, 'episodes' | 'exclude_episodes'> & Partial<DatasetConfig>,
): Problem[] {
  const problems: Problem[] =
    config.image_transforms === undefined ? [] : validateImageTransforms(config.image_transforms);
  if (config.streaming && config.mixture !== null) {
    problems.push({
      field: 'dataset.streaming',
      found: true,
      message: 'expected false with dataset.mixture: a mixture is loaded',
      related: ['dataset.mixture'],
    });
  }
  const { episodes, exclude_episodes: excluded } = config;
  if (episodes !== null && new Set(episodes).size < episodes.length) {
    problems.push({
      field: 'dataset.episodes',
      found: episodes,
      message: 'expected every episode at most once',
    });
  }
  if (episodes !== null && excluded !== null && episodes.every((episode) => excluded.includes(episode))) {
    problems.push({
      field: 'dataset.exclude_episodes',
      found: excluded,
      message: 'leaves nothing of dataset.episodes; expected at least one episode to remain',
      related: ['dataset.episodes'],
    });
  }
  return problems;
}

/**
 * Everything that decides a training run. Names and defaults are LeRobot's `TrainPipelineConfig`.
 *
 * This is the effective configuration: `resolveTrainConfig` has filled in what depends on other fields (the optimiser of
 * the policy's preset, the output folder), and `train_config.json` in a checkpoint holds exactly this.
 */
export const trainConfigSchema = z.strictObject({
  dataset: datasetConfigSchema,
  policy: policyConfigSchema,
  output_dir: z.string().min(1).meta({
    description:
      'Folder for checkpoints, logs and metrics. It must not hold a run already, unless resume is set.',
    defaultText: 'outputs/train/<date>/<time>_<job_name>',
  }),
  job_name: z.string().min(1).meta({ description: 'Name of the run.', defaultText: 'the policy type' }),
  resume: z
    .boolean()
    .default(false)
    .meta({
      description:
        'Continue a run from its last checkpoint, exactly where it stopped: --resume RUN_DIR, or ' +
        '--resume=true --config_path=RUN_DIR/checkpoints/last/pretrained_model/train_config.json.',
      typeText: 'true|false or a run folder',
    }),
  seed: z
    .int()
    .min(0)
    .default(1000)
    .describe('Decides the initial weights, the order of the data, dropout and the noise of the VAE.'),
  num_workers: z
    .int()
    .min(0)
    .default(4)
    .describe(
      'Worker threads that may decode camera frames. Without cameras, data is read in the main thread.',
    ),
  batch_size: z
    .int()
    .min(1)
    .default(8)
    .describe('Samples per step. Typical: 8 to 64; larger is steadier and needs more memory.'),
  gradient_accumulation_steps: z
    .int()
    .min(1)
    .default(1)
    .describe(
      'Batches whose gradients make one optimiser step: an effective batch of batch_size times this, for the memory of ' +
        "batch_size. Steps, log and checkpoints count optimiser steps. LeRobot's accelerator.gradient_accumulation.steps.",
    ),
  steps: z
    .int()
    .min(1)
    .default(100_000)
    .describe('Optimiser steps of the whole run, counted from its start.'),
  log_freq: z
    .int()
    .min(0)
    .default(200)
    .describe('Steps between two log lines, which show means over these steps. 0: only the last step.'),
  tolerance_s: z
    .number()
    .gt(0)
    .default(1e-4)
    .describe('How far, in seconds, a frame may lie from the time that was asked for. Applies to cameras.'),
  save_checkpoint: z.boolean().default(true).describe('Save checkpoints at all.'),
  save_freq: z
    .int()
    .default(20_000)
    .describe('Steps between two checkpoints; the last step is always saved. 0 or less: the last step only.'),
  use_policy_training_preset: z
    .boolean()
    .default(true)
    .describe(
      'Start from the optimiser and schedule that belong to the policy; every --optimizer.* and --scheduler.* field ' +
        'given overrides the preset. false: --optimizer.type must be given.',
    ),
  optimizer: optimizerConfigSchema.meta({
    description: "How weights are updated. Fields that are not given come from the policy's preset.",
    defaultText: "the policy's preset",
  }),
  scheduler: schedulerConfigSchema.nullable().meta({
    description:
      "How the learning rate changes over the run. null: constant. Not given: the policy's preset.",
    defaultText: "the policy's preset",
  }),
  peft: peftConfigSchema
    .nullable()
    .default(null)
    .describe(
      'Train low-rank adapters (LoRA) of a policy from --policy.path instead of all its weights. null: all weights. Any field switches it on.',
    ),
  normalization_stats: z
    .enum(['checkpoint', 'dataset'])
    .default('checkpoint')
    .describe(
      'Statistics that a policy from --policy.path normalises by. checkpoint: its own, so that inputs and actions keep ' +
        'their meaning; dataset: those of the new data, as LeRobot does. A new policy always takes the data it starts with.',
    ),
  rename_map: z
    .record(z.string(), z.string())
    .default({})
    .describe(
      'Dataset key to policy key, e.g. {"state": "observation.state", "actions": "action"}, for datasets that use other ' +
        "names than LeRobot's.",
    ),
});
export type TrainConfig = z.infer<typeof trainConfigSchema>;

/** Every rule between the fields of a training configuration, all problems at once. Reads no file. */
export function validateTrain(config: TrainConfig): Problem[] {
  return [
    ...validateDataset(config.dataset),
    ...validatePolicy(config.policy),
    ...validateScheduler(config.scheduler),
    ...validateRenameMap(config.rename_map),
    ...validatePeft(config.peft, config.policy),
  ];
}

function validateRenameMap(map: Record<string, string>): Problem[] {
  const targets = Object.values(map);
  const twice = targets.find((target, index) => targets.indexOf(target) !== index);
  if (twice === undefined) return [];
  return [
    { field: 'rename_map', found: map, message: `two keys become ${twice}; expected distinct policy keys` },
  ];
}
