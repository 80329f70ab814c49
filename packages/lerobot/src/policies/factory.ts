import { CraftError } from '@craft-ft/torch';
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
 * A policy with random weights (decided by `torch.manualSeed`), on the CPU, in training mode.
 *
 * @throws CraftError `POLICY_FEATURES` where configuration and dataset do not fit together; `POLICY_BACKBONE`
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
  if (options.pretrained !== true) refuseMissingBackbone(filled);
  return new CLASSES[filled.type](filled);
}

function refuseMissingBackbone(config: PolicyConfig): void {
  const weights = config.pretrained_backbone_weights;
  const cameras = Object.values(config.input_features).some(({ type }) => type === 'VISUAL');
  if (!cameras || weights === null) return;
  throw new CraftError(
    'POLICY_BACKBONE',
    `policy.pretrained_backbone_weights=${weights}: torchvision's weights cannot be read here; set it to null for random ones, ` +
      'or start from a policy with --policy.path',
  );
}
