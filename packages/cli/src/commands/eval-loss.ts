import { readPolicyConfig } from '@craft-ft/policies/config';
import { datasetConfigSchema, validateDataset } from '@craft-ft/training/config';
import { z } from 'zod';
import { commandOf } from '../command-of.js';

const evalLossSchema = z.strictObject({
  policy: z.strictObject({
    path: z.string().min(1).describe('Policy to judge: a run, a checkpoint or a model folder.'),
  }),
  dataset: datasetConfigSchema.pick({
    repo_id: true,
    root: true,
    episodes: true,
    exclude_episodes: true,
    revision: true,
  }),
  rename_map: z
    .record(z.string(), z.string())
    .default({})
    .describe('Dataset key to policy key, as in craft train.'),
  batch_size: z.int().min(1).default(32).describe('Frames at a time; changes the speed only.'),
  json: z.boolean().default(false).describe('One JSON object on standard output instead of a sentence.'),
});

/**
 * `craft eval-loss`: a policy's loss on every frame of a dataset, in evaluation mode. Run on the old task's data before and after
 * fine-tuning, it shows how much was forgotten, without a robot.
 */
export const evalLossCommand = commandOf({
  name: 'eval-loss',
  about: 'Loss of a policy on every frame of a dataset.',
  schema: evalLossSchema,
  validate: (config) => validateDataset(config.dataset),
  run: async (
    { policy: given, dataset: choice, rename_map: renameMap, batch_size: batchSize, json },
    output,
  ) => {
    const { fetchPolicyTokenizers, loadPolicy, loadProcessors, resolveDevice } = await import(
      '@craft-ft/policies'
    );
    const { evaluateLoss, fetchDataset, openPolicyDataset } = await import('@craft-ft/training');
    const { dir, config } = readPolicyConfig(given.path);
    const device = resolveDevice(config.device);
    const warn = (line: string) => output.err(`craft: warning: ${line}\n`);
    await fetchPolicyTokenizers(config, warn);
    const policy = loadPolicy(dir, config).to({ device });
    const cameras = Object.keys(config.input_features).filter(
      (key) => config.input_features[key]!.type === 'VISUAL',
    );
    await fetchDataset(choice, cameras, (line) => output.err(`${line}\n`), warn);
    const dataset = await openPolicyDataset({ choice, policy: config, renameMap, toleranceS: 1e-4 });
    const result = await evaluateLoss(policy, loadProcessors(dir, config, { device }), dataset, batchSize);
    if (json) output.out(`${JSON.stringify({ policy: dir, dataset: dataset.repoId, ...result })}\n`);
    else
      output.out(
        `loss ${result.loss.toFixed(4)} over ${result.frames} frames in ${dataset.episodes.length} episodes\n`,
      );
    return 0;
  },
});
