import { existsSync, realpathSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { manualSeed } from '@craft-ft/torch';
import type { TrainConfig } from '../configs/train.js';
import type { LeRobotDataset } from '../datasets/dataset.js';
import { featureTable, formatFeatureTable } from '../datasets/feature-table.js';
import { LeRobotDatasetMetadata } from '../datasets/metadata.js';
import { RandomSampler } from '../datasets/samplers.js';
import { makePolicy } from '../policies/factory.js';
import { withDatasetFeatures } from '../policies/features.js';
import { findPolicyDir } from '../policies/load-config.js';
import type { Policy } from '../policies/policy.js';
import { loadPolicy } from '../policies/pretrained.js';
import type { PolicyConfig } from '../policies/registry.js';
import {
  loadProcessors,
  makeProcessors,
  type PolicyProcessors,
  resolveDevice,
  statTensors,
} from '../processors/index.js';
import { BaselineStrategy } from './baseline.js';
import { refuseUsedOutput, restoreTrainingState } from './checkpoint.js';
import { DataStream } from './data-stream.js';
import type { TrainingRun } from './loop.js';
import { MetricsLog } from './metrics-log.js';
import { normalizationDrift } from './normalization-drift.js';
import { type DatasetChoice, datasetFolder, openPolicyDataset, renamedFeatures } from './open-data.js';
import { Optimization } from './optimization.js';
import type { UpdateStrategy } from './strategy.js';

/** What a strategy is built from. */
export interface StrategyContext {
  config: TrainConfig;
  policy: Policy;
  optimization: Optimization;
  /** Batches of another dataset, through the same processors; the loop's own data is not touched. */
  openStream(choice: DatasetChoice, batchSize: number, seed: number): Promise<DataStream>;
}

/** How a run is set up. */
export interface PrepareOptions {
  /** Default: the baseline. */
  makeStrategy?: (context: StrategyContext) => Promise<UpdateStrategy>;
  /** Checkpoint folder (`checkpoints/000500`) to continue from. Default: a new run. */
  resumeFrom?: string | null;
  /** Files for `pretrained_model/` besides LeRobot's. */
  extraFiles?: ReadonlyMap<string, string>;
  /** Receives lines for people: the table of features, the size of the policy. */
  onInfo?: (line: string) => void;
  /** Receives one-line warnings. Default: `console.warn`. */
  onWarning?: (line: string) => void;
}

/**
 * Opens data and policy and puts a run together; nothing is written yet. A policy that starts from a checkpoint keeps the
 * checkpoint's normalisation: with the new dataset's statistics (as LeRobot does) its inputs and actions would mean something else,
 * which is forgetting before the first step.
 *
 * @throws CraftError OUTPUT_EXISTS, POLICY_FEATURES, STATE_DICT_MISMATCH, and those of datasets and processors
 */
export async function prepareTraining(
  given: TrainConfig,
  options: PrepareOptions = {},
): Promise<TrainingRun> {
  const { resumeFrom = null, onInfo = () => {}, onWarning = console.warn, makeStrategy = baseline } = options;
  if (resumeFrom === null || !liesIn(resumeFrom, given.output_dir)) refuseUsedOutput(given.output_dir);
  manualSeed(given.seed);
  const source = resumeFrom === null ? given.policy.pretrained_path : join(resumeFrom, 'pretrained_model');
  const config = { ...given, policy: await withFeatures(given) };
  const open = (choice: DatasetChoice, renameRequired: boolean) =>
    openPolicyDataset(choice, config.policy, config.rename_map, config.tolerance_s, renameRequired);
  const dataset = await open(config.dataset, true);
  const used = Object.keys({ ...config.policy.input_features, ...config.policy.output_features });
  for (const line of formatFeatureTable(featureTable(dataset, used))) onInfo(line);
  const fresh = source === null || (resumeFrom === null && config.normalization_stats === 'dataset');
  const { policy, processors } = buildPolicy(config.policy, source, fresh ? dataset : null);
  if (resumeFrom === null && !fresh) {
    const features = { ...config.policy.input_features, ...config.policy.output_features };
    for (const line of normalizationDrift(processors.preprocessor, features, dataset.stats)) onWarning(line);
  }
  const optimization = new Optimization(policy, config.optimizer, config.scheduler, config.steps);
  onInfo(
    `${dataset.episodes.length} episodes, ${dataset.length} frames; ${config.policy.type} with ` +
      `${optimization.parameters.entries.reduce((sum, entry) => sum + entry.length, 0)} trainable parameters on ` +
      `${optimization.parameters.data.device}`,
  );
  const strategy = await makeStrategy({
    config,
    policy,
    optimization,
    openStream: async (choice, batchSize, seed) => {
      const other = await open(choice, false);
      return new DataStream(other, new RandomSampler(other, { seed }), batchSize, (batch) =>
        processors.preprocess(batch),
      );
    },
  });
  const data = new DataStream(
    dataset,
    new RandomSampler(dataset, { seed: config.seed }),
    config.batch_size,
    (batch) => processors.preprocess(batch),
  );
  const run: TrainingRun = {
    config,
    policy,
    processors,
    optimization,
    strategy,
    data,
    metrics: new MetricsLog(config.output_dir, data.batchSize, data.sampler.length),
    startStep: 0,
    extraFiles: options.extraFiles,
  };
  if (resumeFrom !== null) run.startStep = restoreTrainingState(run, resumeFrom);
  return run;
}

// A run that continues under another name must not end up in the folder of a third one.
function liesIn(checkpoint: string, outputDir: string): boolean {
  return relative(realpathSync(checkpoint), realOrGiven(outputDir)) === join('..', '..');
}

function realOrGiven(path: string): string {
  return existsSync(path) ? realpathSync(path) : resolve(path);
}

async function baseline({ policy, optimization }: StrategyContext): Promise<UpdateStrategy> {
  return new BaselineStrategy(policy, optimization);
}

// A configuration without features takes them from the dataset; one with features must find them there.
async function withFeatures(config: TrainConfig): Promise<PolicyConfig> {
  const metadata = await LeRobotDatasetMetadata.load(datasetFolder(config.dataset));
  return withDatasetFeatures(
    config.policy,
    renamedFeatures(metadata, config.rename_map),
    datasetFolder(config.dataset),
  );
}

// `dataset`: where statistics are taken from; null keeps the checkpoint's own.
function buildPolicy(
  config: PolicyConfig,
  source: string | null,
  dataset: LeRobotDataset | null,
): { policy: Policy; processors: PolicyProcessors } {
  const device = resolveDevice(config.device);
  const stats = dataset === null ? undefined : statTensors(dataset.stats);
  if (source === null) {
    const processors = makeProcessors(config, stats ?? new Map(), { where: dataset?.metadata.root });
    return { policy: makePolicy(config).to({ device }), processors };
  }
  const dir = findPolicyDir(source);
  const processors = loadProcessors(dir, config, { device, stats });
  return { policy: loadPolicy(dir, config).to({ device }), processors };
}
