import type { TrainingMethod } from '@craft-ft/training/config';
import { z } from 'zod';
import { validateAnchors } from './anchors/config.js';
import { craftConfigSchema } from './config.js';

const { shape: craft } = craftConfigSchema;

/** Configuration of replay: the anchors, as CRaFT has them, and their weight. */
const replayConfigSchema = z.strictObject({
  weight: z
    .number()
    .min(0)
    .default(1)
    .describe(
      'Weight of the loss on the anchors beside the task loss. Typical: 0.5 to 1; 0 replays nothing.',
    ),
  anchor_dataset_path: z
    .string()
    .default('')
    .describe(
      'Dataset of the old task that is replayed: its folder, or its user/name as in dataset.repo_id. Same features as the task ' +
        'dataset; rename_map applies to both. Needed with method=replay, unless there is an anchor_cache_dir.',
    ),
  anchor_dataset_root: craft.anchor_dataset_root,
  anchor_episodes: craft.anchor_episodes,
  anchor_batch_size: z
    .int()
    .min(1)
    .default(16)
    .describe('Anchor samples per step, beside batch_size of the task.'),
  anchor_seed: craft.anchor_seed,
  anchor_cache_dir: z
    .string()
    .default('')
    .describe(
      'Anchor cache to replay from, as craft anchors build wrote it with --kinds=task; it takes the place of anchor_dataset_path.',
    ),
  anchor_mixture: craft.anchor_mixture,
  anchor_num_episodes: craft.anchor_num_episodes,
  anchor_episode_fraction: craft.anchor_episode_fraction,
  anchor_num_frames: craft.anchor_num_frames,
  anchor_fraction: craft.anchor_fraction,
  anchor_balance_tasks: craft.anchor_balance_tasks,
});
type ReplayConfig = z.infer<typeof replayConfigSchema>;

/** Experience replay as `craft train` offers it. */
export const replayMethod: TrainingMethod<ReplayConfig> = {
  name: 'replay',
  title: 'replay',
  about: 'the loss on recordings of the old task is added to the task loss',
  schema: replayConfigSchema,
  validate: (config, chosen) => validateAnchors(config, 'replay', chosen ? 'method=replay' : null),
  resume: { free: ['anchor_dataset_root'], warned: ['weight'] },
  stateFile: 'replay_state.json',
  warnings: async (config, run) => {
    const { sharedRecordings } = await import('./anchors/of-run.js');
    return sharedRecordings(config, run, 'replay');
  },
  strategy: async (context, config) => {
    const [{ anchorsOfRun }, { ReplayStrategy }] = await Promise.all([
      import('./anchors/of-run.js'),
      import('./replay.js'),
    ]);
    const anchors = await anchorsOfRun(context, config, { kinds: ['task'] }, 'replay');
    return new ReplayStrategy({
      ...context,
      anchors,
      weight: config.weight,
      steps: context.config.steps,
      accumulation: context.config.gradient_accumulation_steps,
    });
  },
};
