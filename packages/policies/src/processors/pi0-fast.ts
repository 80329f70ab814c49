import type { Pi0FastConfig } from '../pi0_fast/configuration.js';
import { DeviceStep } from './device.js';
import { NormalizerStep, UnnormalizerStep } from './normalizer.js';
import { PolicyProcessors, ProcessorPipeline } from './pipeline.js';
import { PromptStep } from './prompt.js';
import { AbsoluteActionsStep, RelativeActionsStep } from './relative-actions.js';
import { RenameStep } from './rename.js';
import type { StatTensors } from './stats.js';
import type { ProcessorOverrides } from './step-registry.js';
import { ToBatchStep } from './to-batch.js';
import { TokenizeActionsStep } from './tokenize-actions.js';
import { TokenizeTextStep } from './tokenize-text.js';

/** The processors of π0-FAST, with LeRobot's steps in LeRobot's order (`processor_pi0_fast.py`). */
export function makePi0FastProcessors(
  config: Pi0FastConfig,
  stats: StatTensors,
  device: string,
  options: ProcessorOverrides & { where: string },
): PolicyProcessors {
  const { input_features: inputs, output_features: outputs, normalization_mapping: normMap } = config;
  const { where, onWarning = (message: string) => console.warn(message) } = options;
  return new PolicyProcessors(
    new ProcessorPipeline('policy_preprocessor', [
      new RenameStep(options.renameMap),
      new ToBatchStep(),
      new RelativeActionsStep({
        enabled: config.use_relative_actions,
        excludeJoints: config.relative_exclude_joints,
        actionNames: config.action_feature_names,
      }),
      new NormalizerStep({ features: { ...inputs, ...outputs }, normMap, stats, where }),
      new PromptStep({ maxStateDim: config.max_state_dim }),
      new TokenizeTextStep({
        tokenizerName: config.text_tokenizer_name,
        maxLength: config.tokenizer_max_length,
        onWarning,
      }),
      new TokenizeActionsStep({
        actionTokenizerName: config.action_tokenizer_name,
        textTokenizerName: config.text_tokenizer_name,
        maxActionTokens: config.max_action_tokens,
        fastSkipTokens: config.fast_skip_tokens,
        onWarning,
      }),
      new DeviceStep(device),
    ]),
    new ProcessorPipeline('policy_postprocessor', [
      new UnnormalizerStep({ features: outputs, normMap, stats, where }),
      new AbsoluteActionsStep(config.use_relative_actions),
      new DeviceStep('cpu'),
    ]),
  );
}
