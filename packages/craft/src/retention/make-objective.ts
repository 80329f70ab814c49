import type { optim } from '@craft-ft/torch';
import { type AnchorCacheMetadata, readAnchorMetadata } from '../anchors/metadata.js';
import type { AnchorNeeds } from '../anchors/needs.js';
import { type CraftConfig, comparesWithTeacher, type RetentionMode, retentionWeights } from '../config.js';
import { DEFAULT_FEATURES, type FeatureSpec } from '../features.js';
import { ActionTerm } from './actions.js';
import { FeatureTerm } from './features.js';
import { RetentionObjective } from './objective.js';
import { PolicyLossTerm, TokenTerm } from './policy-loss.js';
import { StartingWeights } from './starting-weights.js';
import type { RetentionTerm } from './term.js';

/**
 * What a run's modes need of its anchors: of a cache, a teacher's targets; of a dataset, what the policy is trained on, since the
 * teacher is asked as training goes.
 *
 * @throws CraftError `ANCHOR_CACHE_…` for a cache that cannot be read
 */
export function anchorNeeds(config: CraftConfig): AnchorNeeds {
  if (config.anchor_cache_dir === '') return { kinds: ['task'] };
  const kinds = retentionWeights(config).map(([mode]) => (mode === 'loss' ? 'task' : mode));
  const comparesFeatures = kinds.includes('hidden') || kinds.includes('feature');
  if (!comparesFeatures || (config.hidden_layers === null && config.hidden_poolings === null))
    return { kinds };
  const stored = storedFeatures(readAnchorMetadata(config.anchor_cache_dir));
  return { kinds, features: wantedFeatures(config, stored ?? DEFAULT_FEATURES) };
}

/**
 * The retention loss that a configuration asks for.
 *
 * @param cache metadata of the anchor cache; null where anchors come from a dataset: then the weights as they are now are kept as the
 * teacher, if a mode needs one
 */
export function makeObjective(
  config: CraftConfig,
  cache: AnchorCacheMetadata | null,
  parameters: optim.FlatParameters,
): RetentionObjective {
  const weights = retentionWeights(config);
  const terms = weights.map(([mode, weight]) => ({ term: makeTerm(config, cache, mode), weight }));
  const asksTeacher = cache === null && weights.some(([mode]) => comparesWithTeacher(mode));
  return new RetentionObjective(terms, asksTeacher ? new StartingWeights(parameters) : null);
}

function makeTerm(
  config: CraftConfig,
  cache: AnchorCacheMetadata | null,
  mode: RetentionMode,
): RetentionTerm {
  const reduction = config.retention_reduction;
  if (mode === 'loss') return new PolicyLossTerm(reduction);
  if (mode === 'token_ce') return new TokenTerm(reduction);
  if (mode === 'action') return new ActionTerm(config.action_loss, reduction);
  const stored = cache === null ? null : storedFeatures(cache);
  const wanted = wantedFeatures(config, stored ?? DEFAULT_FEATURES);
  const spec =
    mode === 'hidden' ? wanted : { layers: wanted.layers.slice(0, 1), poolings: wanted.poolings.slice(0, 1) };
  return new FeatureTerm({
    ...{ mode, spec, reduction, distance: config.hidden_loss, normalize: config.normalize_features },
    secondMoment: stored === null ? null : secondMoments(stored, spec),
  });
}

function wantedFeatures(config: CraftConfig, other: FeatureSpec): FeatureSpec {
  return {
    layers: config.hidden_layers ?? other.layers,
    poolings: config.hidden_poolings ?? other.poolings,
  };
}

interface StoredFeatures extends FeatureSpec {
  /** Hidden states of the teacher; null where it is not known. */
  states: number | null;
  /** [layer][pooling] */
  secondMoment: readonly (readonly number[])[];
}

// One pooled vector is a hidden target of one layer and one pooling.
function storedFeatures({ hidden, feature }: AnchorCacheMetadata): StoredFeatures | null {
  if (hidden !== null) return { ...hidden, states: hidden.num_states, secondMoment: hidden.second_moment };
  if (feature === null) return null;
  const { layer, pooling, num_states: states, second_moment: square } = feature;
  return { layers: [layer], poolings: [pooling], states, secondMoment: [[square]] };
}

function secondMoments(stored: StoredFeatures, spec: FeatureSpec): number[][] {
  const { states } = stored;
  // -1 and 12 are the same of 13.
  const absolute = (layer: number) => (layer < 0 && states !== null ? layer + states : layer);
  return spec.layers.map((layer) => {
    const row = stored.secondMoment[stored.layers.findIndex((one) => absolute(one) === absolute(layer))];
    return spec.poolings.map((pooling) => row?.[stored.poolings.indexOf(pooling)] ?? 0);
  });
}
