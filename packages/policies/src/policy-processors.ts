import { cudaIsAvailable } from '@craft-ft/torch';
import { TaskEmbeddingStep } from './act/processors.js';
import type { Pi0FastConfig } from './pi0_fast/configuration.js';
import { makePi0FastProcessors } from './pi0_fast/processors.js';
import { DeviceStep, RenameStep, requireDevice, ToBatchStep } from './processors/basic-steps.js';
import { NormalizerStep, UnnormalizerStep } from './processors/normalizer.js';
import { PolicyProcessors, ProcessorPipeline } from './processors/pipeline.js';
import type { StatTensors } from './processors/stats.js';
import type { ProcessorOverrides } from './processors/step-registry.js';
import type { PolicyConfig } from './registry.js';

/**
 * The device a configuration means: null and `auto` are the first CUDA device if there is one, else the CPU.
 *
 * @throws CraftError `DEVICE_UNAVAILABLE`
 */
export function resolveDevice(device: string | null): string {
  if (device !== null && device !== 'auto') return requireDevice(device);
  return cudaIsAvailable() ? 'cuda' : 'cpu';
}

/** What processors are made from: a policy's configuration. */
export type ProcessorConfig =
  | Pi0FastConfig
  | (Pick<PolicyConfig, 'input_features' | 'output_features' | 'normalization_mapping' | 'device'> & {
      type?: Exclude<string, 'pi0_fast'>;
      task_embedding_dim?: number;
    });

function isPi0Fast(config: ProcessorConfig): config is Pi0FastConfig {
  return config.type === 'pi0_fast';
}

/**
 * A policy's processors, with LeRobot's steps in LeRobot's order. ACT: rename, to batch, device, normalise; back: unnormalise, to
 * the CPU (`processor_act.py: make_act_pre_post_processors`). pi0_fast: see `makePi0FastProcessors`.
 *
 * @param config with its input and output features filled in
 * @param stats of the dataset the policy learns from; see `statTensors`
 * @param options.where names the dataset or file in messages. Default `statistics`
 * @throws CraftError `NORMALIZER_STATS_MISSING`, `NORMALIZER_STATS_INVALID` for a feature that cannot be normalised
 */
export function makeProcessors(
  config: ProcessorConfig,
  stats: StatTensors,
  options: ProcessorOverrides & { where?: string } = {},
): PolicyProcessors {
  const { input_features: inputs, output_features: outputs, normalization_mapping: normMap } = config;
  const where = options.where ?? 'statistics';
  const device = options.device ?? resolveDevice(config.device);
  if (isPi0Fast(config)) return makePi0FastProcessors(config, stats, device, { ...options, where });
  const dim = config.task_embedding_dim ?? 0;
  return new PolicyProcessors(
    new ProcessorPipeline('policy_preprocessor', [
      new RenameStep(options.renameMap),
      new ToBatchStep(),
      ...(dim > 0 ? [new TaskEmbeddingStep(dim)] : []),
      new DeviceStep(device),
      new NormalizerStep({ features: { ...inputs, ...outputs }, normMap, stats, where }),
    ]),
    new ProcessorPipeline('policy_postprocessor', [
      new UnnormalizerStep({ features: outputs, normMap, stats, where }),
      new DeviceStep('cpu'),
    ]),
  );
}
