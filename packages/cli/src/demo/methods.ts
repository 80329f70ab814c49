import { colorOf, type DemoSettings, type DemoTask, NEW_TASK, OLD_TASK, TASKS } from './settings.js';

/** A policy of the demo: its name, the folder of its run, and the flags for `craft train`. */
export interface Method {
  name: string;
  /** Name of its folder. */
  folder: string;
  title: string;
  steps: number;
  flags: readonly string[];
}

/** Folders of a demo. */
export interface Places {
  /** Folder of the datasets. */
  data: string;
  /** Folder of the run on the old task. */
  base: string;
  /** Folder of the action tokeniser, if the policy has one. */
  tokenizer: string;
  seed: number;
}

/** Flags common to all training runs. */
function common(settings: DemoSettings, task: DemoTask, { data, seed }: Places): string[] {
  return [
    `--dataset.repo_id=${settings.name}/${colorOf(task)}`,
    `--dataset.root=${data}/${colorOf(task)}`,
    `--seed=${seed}`,
    `--batch_size=${settings.batchSize}`,
    ...settings.training.always,
    '--save_freq=0',
    '--env.type=tabletop',
    `--env.task=${TASKS.join(',')}`,
    `--eval.n_episodes=${settings.trials}`,
  ];
}

/** Training on the old task. */
export function baseMethod(settings: DemoSettings, places: Places): Method {
  return {
    name: 'trained on red',
    folder: 'red',
    title: 'Training on red, from nothing.',
    steps: settings.trainSteps,
    flags: [
      ...settings.policy,
      ...(settings.tokenizer === undefined ? [] : [`--policy.action_tokenizer_name=${places.tokenizer}`]),
      ...common(settings, OLD_TASK, places),
      `--steps=${settings.trainSteps}`,
      ...settings.training.old,
      '--log_freq=100',
      `--eval_freq=${settings.trainEvalFreq}`,
    ],
  };
}

/** The three fine-tuning methods: from the same checkpoint, with the same data in the same order and the same number of steps. */
export function fineTuning(settings: DemoSettings, places: Places): Method[] {
  const steps = settings.fineTuneSteps;
  const same = [
    `--policy.path=${places.base}`,
    ...common(settings, NEW_TASK, places),
    `--steps=${steps}`,
    ...settings.training.fineTuning,
    '--log_freq=50',
    `--eval_freq=${settings.fineTuneEvalFreq}`,
  ];
  const anchors = [
    '--craft.enabled=true',
    `--craft.anchor_dataset_path=${places.data}/red`,
    ...settings.anchors,
    `--craft.anchor_batch_size=${settings.anchorBatchSize}`,
    '--craft.retention_freq=1',
    '--craft.log_craft_metrics_freq=0',
  ];
  return [
    {
      name: 'fine-tuned, plain',
      folder: 'blue-plain',
      title: 'Fine-tuning on blue, the plain way.',
      steps,
      flags: same,
    },
    {
      name: 'fine-tuned, replay',
      folder: 'blue-replay',
      title:
        'Fine-tuning on blue with replay: the loss on a few frames of red, the anchors, is added with weight 1.',
      steps,
      // CRaFT without its constraint: a multiplier fixed at 1 and no gradient surgery. --method=replay takes the same steps but rounds
      // differently, and would not reproduce the documented numbers.
      flags: [...same, ...anchors, '--craft.surgery=none', '--craft.initial_lambda=1', '--craft.lambda_lr=0'],
    },
    {
      name: 'fine-tuned, CRaFT',
      folder: 'blue-craft',
      title: `Fine-tuning on blue with CRaFT: ${settings.bound}.`,
      steps,
      flags: [...same, ...anchors, ...settings.constraint],
    },
  ];
}
