import { existsSync, realpathSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { type DatasetStats, type FeatureRow, featureTable, LeRobotDatasetMetadata } from '@craft-ft/datasets';
import { findPolicyDir } from '@craft-ft/datasets/json';
import {
  attachedLora,
  attachLora,
  fetchBackbone,
  fetchBase,
  fetchPolicyTokenizers,
  imagenetStats,
  loadPolicy,
  loadProcessors,
  loraSettings,
  makePolicy,
  makeProcessors,
  type Policy,
  type PolicyProcessors,
  resolveDevice,
  type StatTensors,
  savePolicy,
  statTensors,
  withActionNames,
  withDatasetFeatures,
} from '@craft-ft/policies';
import type { PolicyConfig } from '@craft-ft/policies/config';
import { atomicWriteFile, CraftError, manualSeed } from '@craft-ft/torch';
import { restoreTrainingState } from './checkpoint.js';
import { refuseUsedFolder } from './config/output-folder.js';
import { trainConfigFile } from './config/resolve.js';
import type { TrainConfig } from './config/train.js';
import { cameraSizes, type TrainingData } from './data-stream.js';
import type { TrainingRun } from './loop.js';
import { baselineMethod, type StrategyContext, type UpdateStrategy } from './method.js';
import { MetricsLog } from './metrics-log.js';
import {
  type DatasetChoice,
  datasetChoices,
  datasetFolder,
  fetchDataset,
  type OpenedData,
  openTaskData,
  renamedFeatures,
} from './open-data.js';
import { Optimization } from './optimization.js';
import { normalizationDrift } from './statistics.js';

/** What a run learns from, once its data are open. */
export interface DataSummary {
  /** The policy's features, by the names that the dataset and the policy have for them. */
  features: readonly FeatureRow[];
  /** Features whose statistics had to be computed from the frames. */
  computedStats: readonly string[];
  episodes: number;
  frames: number;
}

/** What a run trains. */
export interface PolicySummary {
  type: string;
  trainableParameters: number;
  device: string;
}

/** How a run is set up. */
export interface PrepareOptions {
  /** Default: the baseline. */
  makeStrategy?: (context: StrategyContext) => Promise<UpdateStrategy>;
  /** Checkpoint folder (`checkpoints/000500`) to continue from. Default: a new run. */
  resumeFrom?: string | null;
  /** Files for `pretrained_model/` besides LeRobot's, by name. */
  extraFiles?: ReadonlyMap<string, string>;
  /** Receives a line where a download begins. */
  onDownload?: (line: string) => void;
  onData?: (data: DataSummary) => void;
  onPolicy?: (policy: PolicySummary) => void;
  /** Receives one-line warnings. Default: `console.warn`. */
  onWarning?: (line: string) => void;
}

/** The policy's weights that a run starts from, and how. */
interface Start {
  /** Folder of a policy or checkpoint; null: new weights. */
  source: string | null;
  /** Checkpoint that the run continues from; null: a new run. */
  resumeFrom: string | null;
}

/**
 * Opens data and policy and puts a run together; nothing is written yet. A policy that starts from a checkpoint keeps the
 * checkpoint's normalisation: with the new dataset's statistics (as LeRobot does) its inputs and actions would change meaning, so that it
 * would forget before the first step.
 *
 * Whatever was opened is closed where this throws.
 *
 * @throws CraftError OUTPUT_EXISTS, POLICY_FEATURES, STATE_DICT_MISMATCH, and those of datasets, processors and `makeStrategy`
 */
export async function prepareTraining(
  given: TrainConfig,
  options: PrepareOptions = {},
): Promise<TrainingRun> {
  const { resumeFrom = null, onWarning = console.warn } = options;
  const start: Start = {
    source: resumeFrom === null ? given.policy.pretrained_path : join(resumeFrom, 'pretrained_model'),
    resumeFrom,
  };
  checkStart(given, start, onWarning);
  manualSeed(given.seed);
  await download(given, start, options.onDownload ?? (() => {}), onWarning);
  const config = await completeConfig(given, start);
  await fetchPolicyTokenizers(config.policy, onWarning);
  const data = await openTaskData(config);
  const features = { ...config.policy.input_features, ...config.policy.output_features };
  options.onData?.({
    computedStats: data.computedStats,
    episodes: data.episodes,
    frames: data.frames,
    features: featureTable({ features: data.features, columns: new Map() }, Object.keys(features)),
  });
  const learner = buildLearner(config, start, data, onWarning);
  const { parameters } = learner.optimization;
  options.onPolicy?.({
    type: config.policy.type,
    trainableParameters: parameters.entries.reduce((sum, entry) => sum + entry.length, 0),
    device: parameters.device,
  });
  return assemble(learner, data, resumeFrom, options);
}

// Before anything expensive.
function checkStart(
  config: TrainConfig,
  { source, resumeFrom }: Start,
  onWarning: (line: string) => void,
): void {
  const folder = config.output_dir;
  if (resumeFrom === null || !liesIn(resumeFrom, folder)) {
    refuseUsedFolder(folder, `, or continue the run in it with --resume ${folder}`);
  }
  const { cameras, image_size: imageSize } = config.dataset;
  if (source !== null && resumeFrom === null && (cameras !== null || imageSize !== null)) {
    onWarning(
      'dataset.cameras and dataset.image_size are for new policies: the one from --policy.path keeps its own inputs',
    );
  }
}

// Datasets, and the policy that adapters belong to.
async function download(
  config: TrainConfig,
  { source }: Start,
  onDownload: (line: string) => void,
  onWarning: (line: string) => void,
): Promise<void> {
  for (const choice of datasetChoices(config)) {
    await fetchDataset(choice, wantedCameras(config, choice), onDownload, onWarning);
  }
  if (source !== null) await fetchBase(findPolicyDir(source), onWarning);
}

// What depends on the dataset and on downloads is filled in.
async function completeConfig(given: TrainConfig, { source }: Start): Promise<TrainConfig> {
  const asked = given.peft === null ? given : { ...given, policy: { ...given.policy, use_peft: true } };
  const policy = await withFeatures(asked);
  return { ...asked, policy: source === null ? await fetchBackbone(policy) : policy };
}

type Learner = Pick<TrainingRun, 'config' | 'policy' | 'processors' | 'optimization'>;

function buildLearner(
  config: TrainConfig,
  { source, resumeFrom }: Start,
  data: OpenedData,
  onWarning: (line: string) => void,
): Learner {
  const fresh = source === null || (resumeFrom === null && config.normalization_stats === 'dataset');
  const { policy, processors } = buildPolicy(config, source, fresh ? data : null);
  if (resumeFrom === null && !fresh) {
    const features = { ...config.policy.input_features, ...config.policy.output_features };
    for (const line of normalizationDrift(processors.preprocessor, features, data.stats)) onWarning(line);
  }
  const optimization = new Optimization(policy, config.optimizer, config.scheduler, config.steps);
  return { config, policy, processors, optimization };
}

// The streams, whose worker threads end with the run, or here where something fails.
async function assemble(
  learner: Learner,
  opened: OpenedData,
  resumeFrom: string | null,
  { makeStrategy, extraFiles = new Map() }: PrepareOptions,
): Promise<TrainingRun> {
  const { config, policy, processors } = learner;
  const streams: TrainingData[] = [];
  const keep = <D extends TrainingData>(stream: D): D => {
    streams.push(stream);
    return stream;
  };
  const close = async () => {
    await Promise.all(streams.map((stream) => stream.close()));
  };
  try {
    const context = { ...learner, keep };
    const strategy = await (makeStrategy?.(context) ?? baselineMethod.strategy(context, undefined));
    const data = keep(opened.stream((batch, texts) => processors.preprocess(batch, texts)));
    const samplesPerStep = data.batchSize * config.gradient_accumulation_steps;
    const run: TrainingRun = {
      ...learner,
      strategy,
      data,
      metrics: new MetricsLog(config.output_dir, samplesPerStep, data.framesPerEpoch),
      startStep: 0,
      saveModel: (folder) => {
        savePolicy(policy, processors, folder);
        const file = JSON.stringify(trainConfigFile(config), null, 4);
        for (const [name, text] of [['train_config.json', file] as const, ...extraFiles]) {
          atomicWriteFile(join(folder, name), text);
        }
      },
      close,
    };
    if (resumeFrom !== null) run.startStep = restoreTrainingState(run, resumeFrom);
    return run;
  } catch (error) {
    await close();
    throw error;
  }
}

// A run that resumes under another name must not write into a different run's folder.
function liesIn(checkpoint: string, outputDir: string): boolean {
  return relative(realpathSync(checkpoint), realOrGiven(outputDir)) === join('..', '..');
}

function realOrGiven(path: string): string {
  return existsSync(path) ? realpathSync(path) : resolve(path);
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

// Image backbones are pretrained with ImageNet's statistics, so these replace the dataset's.
function normalizationStats({ policy, dataset }: TrainConfig, fromData: DatasetStats): StatTensors {
  const stats = statTensors(fromData);
  const cameras = [...cameraSizes(policy.input_features).keys()];
  return dataset.use_imagenet_stats ? new Map([...stats, ...imagenetStats(cameras)]) : stats;
}
