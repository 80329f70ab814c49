import { findBackboneWeights, forgetBackboneFile, loadBackboneWeights } from './act/backbone-weights.js';
import { ActPolicy } from './act/policy.js';
import { type FeatureSources, withDatasetFeatures } from './features.js';
import type { Policy } from './policy.js';
import type { PolicyConfig, PolicyType } from './registry.js';

const CLASSES: { [T in PolicyType]: new (config: Extract<PolicyConfig, { type: T }>) => Policy } = {
  act: ActPolicy,
};

export interface MakePolicyOptions {
  /** Features of the dataset, by policy key; fill in what the configuration leaves empty. */
  features?: FeatureSources;
  /** Whether weights are loaded afterwards, so that `pretrained_backbone_weights` need not be found. Default false. */
  pretrained?: boolean;
}

/**
 * A policy with random weights (decided by `torch.manualSeed`), on the CPU, in training mode. Its image backbone starts from
 * `pretrained_backbone_weights` where that is a file; the policy's own configuration then has null there.
 *
 * @throws CraftError `POLICY_FEATURES` where configuration and dataset do not fit together; `POLICY_BACKBONE`,
 * `STATE_DICT_MISMATCH` for backbone weights that cannot be had or do not fit
 *
 * @example
 * ```ts
 * torch.manualSeed(config.seed);
 * const policy = makePolicy(config.policy, { features: dataset.features });
 * policy.config.input_features; // { 'observation.state': { type: 'STATE', shape: [26] } }
 * ```
 */
export function makePolicy(config: PolicyConfig, options: MakePolicyOptions = {}): Policy {
  const filled = options.features === undefined ? config : withDatasetFeatures(config, options.features);
  const backbone = options.pretrained === true ? null : findBackboneWeights(filled);
  const policy = new CLASSES[filled.type](forgetBackboneFile(filled));
  if (backbone !== null && policy instanceof ActPolicy) loadBackboneWeights(policy.model.backbone!, backbone);
  return policy;
}
