import {
  ConfigError,
  checkConfig,
  datasetConfigSchema,
  listFields,
  readPolicyConfig,
  validateDataset,
} from '@craft-ft/lerobot/configs';
import { z } from 'zod';
import { applyFlags, type FlagTable, splitFlags } from '../flags.js';
import { fieldsHelp } from '../help.js';
import type { Output } from '../main.js';
import { withLocalPolicy } from '../policy-path.js';

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

const table: FlagTable = { fields: listFields(evalLossSchema), special: [], notYet: [] };

/**
 * `craft eval-loss`: a policy's loss on every frame of a dataset, in evaluation mode. Run on the old task's data before and after
 * fine-tuning it tells how much was forgotten, without a robot.
 */
export async function evalLossCommand(argv: readonly string[], output: Output): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) {
    output.out(
      fieldsHelp('craft eval-loss', 'Loss of a policy on every frame of a dataset.', table, output.columns),
    );
    return 0;
  }
  const tree = { dataset: {}, policy: {} };
  const problems = applyFlags(tree, splitFlags(await withLocalPolicy(argv, output), table), table);
  const checked = checkConfig(evalLossSchema, tree, (config) => validateDataset(config.dataset));
  if (checked.config === null || problems.length > 0)
    throw new ConfigError([...problems, ...checked.problems]);
  const {
    policy: given,
    dataset: choice,
    rename_map: renameMap,
    batch_size: batchSize,
    json,
  } = checked.config;

  const {
    evaluateLoss,
    fetchDataset,
    fetchPolicyTokenizers,
    loadPolicy,
    loadProcessors,
    openPolicyDataset,
    resolveDevice,
  } = await import('@craft-ft/lerobot');
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
}
