import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { looksLikeRepoId } from '@craft-ft/datasets/hub-names';
import type { PolicyRegistration } from '../registration.js';
import {
  type ActConfig,
  actConfigSchema,
  actDeltaIndices,
  actOptimizerPreset,
  actSchedulerPreset,
  validateAct,
} from './configuration.js';
import { ActPolicy } from './policy.js';
import { makeActProcessors, readTaskEmbeddingStep, TASK_EMBEDDING_STEP } from './processors.js';
import { findBackboneWeights, forgetBackboneFile, loadBackboneWeights, wantsWeights } from './resnet.js';

/** ACT, the action chunking transformer. */
export const act: PolicyRegistration<typeof actConfigSchema> = {
  schema: actConfigSchema,
  validate: validateAct,
  optimizerPreset: actOptimizerPreset,
  schedulerPreset: actSchedulerPreset,
  deltaIndices: actDeltaIndices,
  extensions: { task_embedding_dim: 0 },
  make: makeAct,
  makeProcessors: makeActProcessors,
  savedSteps: { [TASK_EMBEDDING_STEP]: readTaskEmbeddingStep },
  fetchBackbone,
};

/** The image backbone starts from `pretrained_backbone_weights` if that is a file; the policy's own configuration then holds null. */
function makeAct(config: ActConfig, pretrained: boolean): ActPolicy {
  const backbone = pretrained ? null : findBackboneWeights(config);
  const policy = new ActPolicy(forgetBackboneFile(config));
  if (backbone !== null) loadBackboneWeights(policy.model.backbone!, backbone);
  return policy;
}

async function fetchBackbone(config: ActConfig): Promise<ActConfig> {
  const weights = config.pretrained_backbone_weights;
  if (weights === null || !wantsWeights(config) || existsSync(weights)) return config;
  if (weights.endsWith('.safetensors') || !looksLikeRepoId(weights)) return config;
  const { downloadPolicy } = await import('@craft-ft/datasets');
  return { ...config, pretrained_backbone_weights: join(await downloadPolicy(weights), 'model.safetensors') };
}
