import { existsSync, realpathSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import type { DatasetStats } from '@craft-ft/datasets';
import {
  downloadPolicy,
  featureTable,
  formatFeatureTable,
  LeRobotDatasetMetadata,
  looksLikeRepoId,
} from '@craft-ft/datasets';
import { findPolicyDir } from '@craft-ft/datasets/json';
import type { Policy } from '@craft-ft/policies';
import {
  attachedLora,
  attachLora,
  fetchBase,
  fetchPolicyTokenizers,
  imagenetStats,
  loadPolicy,
  loadProcessors,
  loraSettings,
  makePolicy,
  makeProcessors,
  type PolicyProcessors,
  resolveDevice,
  type StatTensors,
  statTensors,
  type TensorBatch,
  type Texts,
  withDatasetFeatures,
} from '@craft-ft/policies';
import type { PolicyConfig } from '@craft-ft/policies/config';
import { CraftError, manualSeed } from '@craft-ft/torch';
import { BaselineStrategy } from './baseline.js';
import { cameraSizes } from './camera-batches.js';
import { restoreTrainingState } from './checkpoint.js';
import { refuseUsedFolder } from './config/output-folder.js';
import type { TrainConfig } from './config/train.js';
import type { TrainingData } from './data-stream.js';
import type { TrainingRun } from './loop.js';
import { MetricsLog } from './metrics-log.js';
import { normalizationDrift } from './normalization-drift.js';
import { type DatasetChoice, datasetFolder, fetchDataset, renamedFeatures } from './open-data.js';
import { Optimization } from './optimization.js';
import { withActionNames } from './policy-stats.js';
import type { UpdateStrategy } from './strategy.js';
import { datasetChoices, type OpenedData, openTaskData } from './task-data.js';

/** What a strategy is built from. */
export interface StrategyContext {
  config: TrainConfig;
  policy: Policy;
  processors: PolicyProcessors;
  optimization: Optimization;
  /** Has a stream that the strategy opened itself closed with the run; returns it. */
  keep<D extends TrainingData>(stream: D): D;
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
  if (resumeFrom === null || !liesIn(resumeFrom, given.output_dir)) {
    const folder = given.output_dir;
    refuseUsedFolder(folder, `, or continue the run in it with --resume ${folder}`);
  }
  manualSeed(given.seed);
  const source = resumeFrom === null ? given.policy.pretrained_path : join(resumeFrom, 'pretrained_model');
  // Anchors may have the policy's own names where the task's dataset is renamed: then all of their cameras are brought.
  const fetch = (choice: DatasetChoice) =>
    fetchDataset(choice, wantedCameras(given, choice), onInfo, onWarning);
  const { cameras, image_size: imageSize } = given.dataset;
  if (source !== null && resumeFrom === null && (cameras !== null || imageSize !== null)) {
    onWarning(
      'dataset.cameras and dataset.image_size are for new policies: the one from --policy.path keeps its own inputs',
    );
  }
  for (const choice of datasetChoices(given)) await fetch(choice);
  if (source !== null) await fetchBase(findPolicyDir(source), onWarning);
  const asked = given.peft === null ? given : { ...given, policy: { ...given.policy, use_peft: true } };
  const config = { ...asked, policy: await withBackbone(await withFeatures(asked), source === null) };
  await fetchPolicyTokenizers(config.policy, onWarning);
  const opened = await openTaskData(config);
  for (const what of opened.computedStats) onInfo(`statistics computed from the frames: ${what}`);
  const features = { ...config.policy.input_features, ...config.policy.output_features };
  const table = featureTable({ features: opened.features, columns: new Map() }, Object.keys(features));
  for (const line of formatFeatureTable(table)) onInfo(line);
  const fresh = source === null || (resumeFrom === null && config.normalization_stats === 'dataset');
  const { policy, processors } = buildPolicy(config, source, fresh ? opened : null);
  if (resumeFrom === null && !fresh) {
    for (const line of normalizationDrift(processors.preprocessor, features, opened.stats)) onWarning(line);
  }
  const optimization = new Optimization(policy, config.optimizer, config.scheduler, config.steps);
  onInfo(
    `${opened.episodes} episodes, ${opened.frames} frames; ${config.policy.type} with ` +
      `${optimization.parameters.entries.reduce((sum, entry) => sum + entry.length, 0)} trainable parameters on ` +
      `${optimization.parameters.device}`,
  );
  const preprocess = (batch: TensorBatch, texts: Texts) => processors.preprocess(batch, texts);
  const streams: TrainingData[] = [];
  const kept = <D extends TrainingData>(stream: D): D => {
    streams.push(stream);
    return stream;
  };
  const strategy = await makeStrategy({
    config,
    policy,
    processors,
    optimization,
    keep: kept,
  });
  const data = kept(opened.stream(preprocess));
  const run: TrainingRun = {
    config,
    policy,
    processors,
    optimization,
    strategy,
    data,
    metrics: new MetricsLog(
      config.output_dir,
      data.batchSize * config.gradient_accumulation_steps,
      data.framesPerEpoch,
    ),
    startStep: 0,
    close: async () => {
      await Promise.all(streams.map((one) => one.close()));
    },
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
  const sources = renamedFeatures(metadata, config.rename_map);
  const policy = withDatasetFeatures(config.policy, sources, datasetFolder(config.dataset), {
    cameras: config.dataset.cameras ?? undefined,
    imageSize: config.dataset.image_size ?? undefined,
  });
  return withActionNames(policy, sources);
}

// Weights of an image backbone may be named as a repository of the Hub, such as timm/resnet18.tv_in1k.
async function withBackbone(policy: PolicyConfig, isNew: boolean): Promise<PolicyConfig> {
  if (policy.type !== 'act') return policy;
  const weights = policy.pretrained_backbone_weights;
  const wanted = isNew && cameraSizes(policy.input_features).size > 0;
  if (!wanted || weights === null || existsSync(weights)) return policy;
  if (weights.endsWith('.safetensors') || !looksLikeRepoId(weights)) return policy;
  return { ...policy, pretrained_backbone_weights: join(await downloadPolicy(weights), 'model.safetensors') };
}

// What has to be downloaded: the policy's cameras, or those a new policy is to see.
function wantedCameras(config: TrainConfig, choice: DatasetChoice): string[] | undefined {
  const { policy, dataset, rename_map: renameMap } = config;
  const known = Object.entries(policy.input_features);
  const keys =
    known.length > 0
      ? known.filter(([, { type }]) => type === 'VISUAL').map(([key]) => key)
      : dataset.cameras;
  const renamed = keys?.some((key) => Object.values(renameMap).includes(key)) === true;
  if (keys === null || (renamed && choice !== dataset)) return undefined;
  return keys.map((key) => Object.keys(renameMap).find((own) => renameMap[own] === key) ?? key);
}

// `data`: where statistics are taken from; null keeps the checkpoint's own.
function buildPolicy(
  config: TrainConfig,
  source: string | null,
  data: OpenedData | null,
): { policy: Policy; processors: PolicyProcessors } {
  const device = resolveDevice(config.policy.device);
  const stats = data === null ? undefined : normalizationStats(config, data.stats);
  if (source === null) {
    const processors = makeProcessors(config.policy, stats ?? new Map(), { where: data?.root });
    return { policy: makePolicy(config.policy).to({ device }), processors };
  }
  const dir = findPolicyDir(source);
  const processors = loadProcessors(dir, config.policy, { device, stats });
  return { policy: withAdapters(loadPolicy(dir, config.policy), source, config).to({ device }), processors };
}

// New adapters, unless the checkpoint brought its own.
function withAdapters(policy: Policy, source: string, { peft, policy: config }: TrainConfig): Policy {
  const had = attachedLora(policy) !== null;
  if (peft !== null && had && source === config.pretrained_path) {
    throw new CraftError(
      'LORA_ATTACHED',
      `${source} holds LoRA adapters: leave out --peft.* to train these on, or merge them first (craft export)`,
    );
  }
  if (peft === null && !had && policy.config.use_peft) {
    throw new CraftError(
      'LORA_NOT_ATTACHED',
      `${source} holds no LoRA adapters: for new ones give --peft.method_type=LORA instead of --policy.use_peft`,
    );
  }
  if (peft !== null && !had)
    attachLora(policy, loraSettings(peft, policy.config.type, findPolicyDir(source)));
  return policy;
}

// Image backbones are pretrained with ImageNet's statistics, so these take the place of the dataset's.
function normalizationStats({ policy, dataset }: TrainConfig, fromData: DatasetStats): StatTensors {
  const stats = statTensors(fromData);
  const cameras = [...cameraSizes(policy.input_features).keys()];
  return dataset.use_imagenet_stats ? new Map([...stats, ...imagenetStats(cameras)]) : stats;
}
