import { findBackboneWeights, forgetBackboneFile, loadBackboneWeights } from './act/backbone-weights.js';
import type { ActConfig } from './act/configuration.js';
import { ActPolicy } from './act/policy.js';
import { type FeatureSources, withDatasetFeatures } from './features.js';
import { Pi0FastPolicy } from './pi0_fast/policy.js';
import type { Policy } from './policy.js';
import type { PolicyConfig, PolicyType } from './registry.js';

type Maker<C> = (config: C, pretrained: boolean) => Policy;

const MAKERS: { [T in PolicyType]: Maker<Extract<PolicyConfig, { type: T }>> } = {
  act: makeAct,
  pi0_fast: (config) => new Pi0FastPolicy(config),
};

function makeAct(config: ActConfig, pretrained: boolean): Policy {
  const backbone = pretrained ? null : findBackboneWeights(config);
  const policy = new ActPolicy(forgetBackboneFile(config));
  if (backbone !== null) loadBackboneWeights(policy.model.backbone!, backbone);
  return policy;
}

export interface MakePolicyOptions {
  /** Features of the dataset, by policy key; fill in what the configuration leaves empty. */
  features?: FeatureSources;
  /** Whether weights are loaded afterwards, so that `pretrained_backbone_weights` need not be found. Default false. */
  pretrained?: boolean;
}

/**
 * A policy with random weights (decided by `torch.manualSeed`), on the CPU, in training mode. ACT's image backbone starts from
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
  const make = MAKERS[filled.type] as Maker<PolicyConfig>;
  return make(filled, options.pretrained === true);
}
