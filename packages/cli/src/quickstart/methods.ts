import { NEW_TASK, OLD_TASK, type QuickstartSettings, TASKS } from './settings.js';

/** A policy of the quickstart: how it is called, where its run lies, and what `craft train` is told. */
export interface Method {
  name: string;
  /** Name of its folder. */
  folder: string;
  title: string;
  flags: readonly string[];
}

const NORMALIZE = '{"VISUAL":"MEAN_STD","STATE":"MEAN_STD","ACTION":"MEAN_STD","ENV":"MEAN_STD"}';

interface Places {
  /** Folder of the datasets. */
  data: string;
  /** Folder of the run on the old task. */
  base: string;
  seed: number;
}

/** What every training of the quickstart has in common. */
function common(settings: QuickstartSettings, task: string, { data, seed }: Places): string[] {
  const color = task === OLD_TASK ? 'red' : 'blue';
  return [
    `--dataset.repo_id=quickstart/${color}`,
    `--dataset.root=${data}/${color}`,
    `--seed=${seed}`,
    `--batch_size=${settings.batchSize}`,
    '--scheduler.type=linear',
    '--save_freq=0',
    '--env.type=tabletop',
    `--env.task=${TASKS.join(',')}`,
    `--eval.n_episodes=${settings.trials}`,
  ];
}

/** Training on the old task. */
export function baseMethod(settings: QuickstartSettings, places: Places): Method {
  return {
    name: 'trained on red',
    folder: 'red',
    title: 'Training on red, from nothing.',
    flags: [
      '--policy.type=act',
      '--policy.task_embedding_dim=32',
      '--policy.use_vae=false',
      '--policy.dropout=0',
      `--policy.normalization_mapping=${NORMALIZE}`,
      ...settings.policy,
      ...common(settings, OLD_TASK, places),
      `--steps=${settings.trainSteps}`,
      '--optimizer.lr=1e-3',
      '--scheduler.num_warmup_steps=50',
      '--log_freq=100',
      `--eval_freq=${settings.trainEvalFreq}`,
    ],
  };
}

/** The three ways to the new task: from the same checkpoint, with the same data in the same order and the same number of steps. */
export function fineTuning(settings: QuickstartSettings, places: Places): Method[] {
  const same = [
    `--policy.path=${places.base}`,
    ...common(settings, NEW_TASK, places),
    `--steps=${settings.fineTuneSteps}`,
    '--optimizer.lr=5e-4',
    '--log_freq=50',
    `--eval_freq=${settings.fineTuneEvalFreq}`,
  ];
  const anchors = [
    '--craft.enabled=true',
    `--craft.anchor_dataset_path=${places.data}/red`,
    ...settings.anchors,
    `--craft.anchor_batch_size=${settings.batchSize / 2}`,
    '--craft.retention_freq=1',
    '--craft.log_craft_metrics_freq=0',
  ];
  return [
    {
      name: 'fine-tuned, plain',
      folder: 'blue-plain',
      title: 'Fine-tuning on blue, the plain way.',
      flags: same,
    },
    {
      name: 'fine-tuned, replay',
      folder: 'blue-replay',
      title:
        'Fine-tuning on blue with replay: the loss on a few frames of red, the anchors, is added with weight 1.',
      // Replay is CRaFT with the constraint taken away: a multiplier that stays at 1, and no surgery.
      flags: [...same, ...anchors, '--craft.surgery=none', '--craft.initial_lambda=1', '--craft.lambda_lr=0'],
    },
    {
      name: 'fine-tuned, CRaFT',
      folder: 'blue-craft',
      title:
        'Fine-tuning on blue with CRaFT: on the same anchors, its actions may not leave those it starts with.',
      flags: [
        ...same,
        ...anchors,
        '--craft.retention_mode=action',
        '--craft.epsilon_start=0.05',
        '--craft.lambda_lr=1',
      ],
    },
  ];
}
