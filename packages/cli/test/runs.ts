import { join } from 'node:path';
import { findPolicyDir } from '@craft-ft/datasets';
import { loadPolicy, loadProcessors, readPolicyConfig } from '@craft-ft/policies';
import { evaluateLoss, openPolicyDataset } from '@craft-ft/training';
import { TINY } from '../../training/test/training.js';
import { craft, type Ran } from './craft.js';

/** Flags of a short run on a dataset; later flags win. */
export function flags(dataset: string, output: string, ...more: string[]): string[] {
  return [
    ...TINY,
    `--dataset.repo_id=test/${dataset.split('/').at(-1)}`,
    `--dataset.root=${dataset}`,
    `--output_dir=${output}`,
    '--batch_size=4',
    '--steps=20',
    '--log_freq=3',
    '--save_freq=10',
    ...more,
  ];
}

/** Flags that add CRaFT with anchors of another dataset. */
export function craftFlags(anchors: string, ...more: string[]): string[] {
  return [
    '--craft.enabled=true',
    `--craft.anchor_dataset_path=${anchors}`,
    '--craft.anchor_batch_size=4',
    '--craft.retention_freq=3',
    ...more,
  ];
}

export const train = (argv: readonly string[], onOut?: (text: string) => void): Promise<Ran> =>
  craft(['train', ...argv], onOut);

/** Trains until a line of output contains `text`; then Ctrl-C. */
export function trainUntil(text: string, argv: readonly string[]): Promise<Ran> {
  return train(argv, (line) => {
    if (line.includes(text)) process.emit('SIGINT');
  });
}

/** Mean L1 loss of a run's last policy on a dataset, in evaluation mode and thus without chance. */
export async function evalLoss(run: string, dataset: string): Promise<number> {
  const dir = findPolicyDir(run);
  const { config } = readPolicyConfig(dir);
  const data = await openPolicyDataset({
    choice: { repo_id: 'test/eval', root: dataset, episodes: null, exclude_episodes: null },
    policy: config,
    renameMap: {},
    toleranceS: 1e-4,
  });
  const processors = loadProcessors(dir, config, { device: 'cpu' });
  return (await evaluateLoss(loadPolicy(dir, config), processors, data, data.length)).loss;
}

/** Folder of a step's checkpoint. */
export const checkpoint = (run: string, step: number): string =>
  join(run, 'checkpoints', String(step).padStart(6, '0'));
