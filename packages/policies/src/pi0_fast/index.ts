import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { FAST_TOKENIZER_FOLDER, type PlainObject } from '@craft-ft/datasets/json';
import type { safetensors } from '@craft-ft/torch';
import type { PolicyRegistration } from '../registration.js';
import { fetchTokenizer } from '../tokenizers/locate.js';
import { DECODER_ATTENTION, paligemmaNames, paligemmaVariant } from '../vlm/paligemma.js';
import { loadActionTokens } from './action-tokens.js';
import {
  type Pi0FastConfig,
  pi0FastConfigSchema,
  pi0FastDeltaIndices,
  pi0FastOptimizerPreset,
  pi0FastSchedulerPreset,
  validatePi0Fast,
} from './configuration.js';
import { pi0FastLanguageModel } from './language-model.js';
import { Pi0FastPolicy } from './policy.js';
import { makePi0FastProcessors, pi0FastSteps } from './processors.js';

/** π0-FAST: a PaliGemma that predicts actions as FAST tokens. */
export const pi0Fast: PolicyRegistration<typeof pi0FastConfigSchema> = {
  schema: pi0FastConfigSchema,
  validate: validatePi0Fast,
  optimizerPreset: pi0FastOptimizerPreset,
  schedulerPreset: pi0FastSchedulerPreset,
  deltaIndices: pi0FastDeltaIndices,
  // Dropped by newer versions; in older ones, true is the default.
  extensions: { validate_action_token_prefix: true },
  make: (config) => new Pi0FastPolicy(config),
  makeProcessors: makePi0FastProcessors,
  savedSteps: pi0FastSteps,
  relativeActions: (config) =>
    config.use_relative_actions
      ? {
          chunkSize: config.chunk_size,
          excludeJoints: config.relative_exclude_joints,
          actionNames: config.action_feature_names,
        }
      : null,
  fetchTokenizers,
  findOwnFiles,
  checkpointNames: paligemmaNames,
  variant: {
    of: (config) => variantField(config.paligemma_variant),
    ofWeights: (file: safetensors.TensorSource) => {
      const variant = paligemmaVariant(file);
      return variant === null ? null : variantField(variant);
    },
  },
  // LeRobot has no default for pi0_fast; these are its defaults for pi0.
  loraTargets: DECODER_ATTENTION,
  languageModel: (policy) => pi0FastLanguageModel(policy as unknown as Pi0FastPolicy),
};

function variantField(variant: string): string {
  return `paligemma_variant=${variant}`;
}

async function fetchTokenizers(config: Pi0FastConfig, onWarning: (message: string) => void): Promise<void> {
  for (const name of [config.text_tokenizer_name, config.action_tokenizer_name]) {
    await fetchTokenizer(name, { onWarning });
  }
  loadActionTokens(config);
}

// The FAST tokeniser of a folder is copied into every checkpoint.
function findOwnFiles(fields: PlainObject, dir: string): PlainObject {
  const name = fields.action_tokenizer_name;
  const own = join(dir, FAST_TOKENIZER_FOLDER);
  if (typeof name !== 'string' || existsSync(name) || !existsSync(join(own, 'tokenizer.json'))) return fields;
  return { ...fields, action_tokenizer_name: resolve(own) };
}
