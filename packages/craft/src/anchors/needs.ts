import { join } from 'node:path';
import type { PolicyConfig, PolicyProcessors } from '@craft-ft/policies';
import { CraftError } from '@craft-ft/torch/errors';
import type { FeatureSpec } from '../features.js';
import type { AnchorCacheDataset } from './cache.js';
import type { AnchorKind } from './config.js';
import type { AnchorCacheMetadata } from './metadata.js';
import { processorHashes } from './processor-hash.js';

/** What a run's retention loss takes from an anchor batch besides the policy's inputs. */
export interface AnchorNeeds {
  readonly kinds: readonly AnchorKind[];
  /** Layers and poolings for `hidden`; for `feature` the first of each. Default: those of the cache. */
  readonly features?: FeatureSpec;
}

/** Tensors of a batch that hold a teacher's targets, by kind. */
export const TARGETS: Readonly<Record<Exclude<AnchorKind, 'task'>, readonly string[]>> = {
  token_ce: ['anchor.token_labels', 'anchor.token_mask'],
  hidden: ['anchor.hidden'],
  feature: ['anchor.feature'],
  action: ['anchor.action'],
};

/** Where a cache keeps the wanted features: the tensor, and the layers and poolings within it. */
export interface FeaturePlace {
  readonly tensor: 'anchor.hidden' | 'anchor.feature';
  readonly layers: readonly number[];
  readonly poolings: readonly number[];
}

/**
 * Checks that a cache can serve a run and finds the wanted features in it.
 *
 * @throws CraftError `ANCHOR_KIND`, `ANCHOR_FEATURES`, `ANCHOR_STALE`, `ANCHOR_GEOMETRY`, each saying what to rebuild
 */
export function checkNeeds(
  cache: AnchorCacheDataset,
  needs: AnchorNeeds,
  config: PolicyConfig,
  processors: PolicyProcessors,
): FeaturePlace | null {
  const { metadata, dir } = cache;
  const kinds = new Set<AnchorKind>(metadata.kinds);
  for (const kind of needs.kinds) {
    // One pooled vector equals a hidden target with one layer and one pooling, and vice versa.
    const other = kind === 'hidden' ? 'feature' : kind === 'feature' ? 'hidden' : kind;
    if (!kinds.has(kind) && !kinds.has(other)) {
      const has = `${dir}: the cache has ${metadata.kinds.join(', ')}, this run needs ${kind}`;
      throw new CraftError('ANCHOR_KIND', `${has}; build it with craft anchors build --kinds=${kind}`);
    }
  }
  checkProcessor(dir, metadata, needs, processors);
  checkInputs(dir, metadata, needs, config);
  return needs.kinds.some((kind) => kind === 'hidden' || kind === 'feature')
    ? findFeatures(dir, metadata, needs)
    : null;
}

// Targets belong to inputs that went through the teacher's processor; recorded actions are processed by the run itself.
function checkProcessor(
  dir: string,
  { preprocessed, teacher }: AnchorCacheMetadata,
  needs: AnchorNeeds,
  processors: PolicyProcessors,
): void {
  if (preprocessed || teacher?.processor == null || needs.kinds.every((kind) => kind === 'task')) return;
  const ours = processorHashes(processors);
  const steps = [...new Set([...Object.keys(teacher.processor), ...Object.keys(ours)])];
  const differ = steps.filter((step) => teacher.processor![step] !== ours[step]);
  if (differ.length === 0) return;
  const what = `the run's processor differs from the teacher's (${teacher.path}) in ${differ.join(', ')}`;
  const remedy =
    "train from the teacher's checkpoint with its normalisation, or build the cache anew with this run's policy";
  throw new CraftError('ANCHOR_STALE', `${dir}: ${what}; ${remedy}`);
}

function checkInputs(
  dir: string,
  { preprocessed, tensors, images, action }: AnchorCacheMetadata,
  needs: AnchorNeeds,
  config: PolicyConfig,
): void {
  const wrong = (what: string, remedy = "build the cache anew with this run's policy") =>
    new CraftError('ANCHOR_GEOMETRY', `${dir}: ${what}; ${remedy}`);
  const { image_resolution: resolution } = config as { image_resolution?: readonly number[] };
  const cameras = Object.entries(config.input_features).filter(([, { type }]) => type === 'VISUAL');
  for (const [key, { shape }] of cameras) {
    const stored = images[key];
    if (stored === undefined) {
      if (preprocessed && cameras.some(([other]) => images[other] !== undefined)) continue;
      const has = Object.keys(images).join(', ') || 'no images';
      const remedy = preprocessed ? `import it with --image_key=${key}` : undefined;
      throw wrong(`the policy sees "${key}", the cache has ${has}`, remedy);
    }
    const exact = stored.height === shape[1] && stored.width === shape[2];
    if (!exact && resolution === undefined)
      throw wrong(`"${key}" is ${stored.height}×${stored.width}, the policy sees ${shape[1]}×${shape[2]}`);
  }
  if (!preprocessed) {
    for (const [key, { type, shape }] of Object.entries(config.input_features)) {
      if (type === 'VISUAL' || type === 'LANGUAGE') continue;
      const stored = tensors[key];
      if (stored === undefined) throw wrong(`the policy reads "${key}", the cache lacks it`);
      const own = stored.shape.slice(stored.shape.length - shape.length);
      if (own.join() !== shape.join()) throw wrong(`"${key}" is [${own}], the policy reads [${shape}]`);
    }
  }
  const chunk = (config as { chunk_size?: number }).chunk_size;
  const dim = config.output_features.action?.shape[0];
  const stored = needs.kinds.includes('task') ? tensors.action?.shape : undefined;
  const has = needs.kinds.includes('action') && action !== null ? [action.chunk, action.dim] : stored;
  if (has !== undefined && (has[0] !== (chunk ?? has[0]) || has[1] !== (dim ?? has[1])))
    throw wrong(`its actions are [${has.join(', ')}] (chunk, dimensions), the policy's [${chunk}, ${dim}]`);
}

function findFeatures(dir: string, metadata: AnchorCacheMetadata, needs: AnchorNeeds): FeaturePlace {
  const { hidden, feature } = metadata;
  const wanted = needs.features;
  const single = !needs.kinds.includes('hidden');
  const has = hidden ?? { ...feature!, layers: [feature!.layer], poolings: [feature!.pooling] };
  const layers = wanted?.layers ?? has.layers;
  const poolings = wanted?.poolings ?? has.poolings;
  const refuse = (what: 'layers' | 'poolings', value: number | string): CraftError => {
    const message = `${join(dir, 'metadata.json')}: the cache has ${what} ${has[what].join(', ')}, this run compares ${value}`;
    const remedy = `build it with craft anchors build --${what === 'layers' ? what : 'pooling'}=[${(wanted?.[what] ?? []).join()}]`;
    return new CraftError('ANCHOR_FEATURES', `${message}; ${remedy}`);
  };
  // Positive and negative indices can be compared once the number of layers is known.
  const count = has.num_states;
  const absolute = (layer: number) => (layer < 0 && count !== null ? layer + count : layer);
  const places = {
    layers: layers.map((layer) => {
      const at = has.layers.findIndex((own) => absolute(own) === absolute(layer));
      if (at < 0) throw refuse('layers', layer);
      return at;
    }),
    poolings: poolings.map((pooling) => {
      const at = has.poolings.indexOf(pooling);
      if (at < 0) throw refuse('poolings', pooling);
      return at;
    }),
  };
  return {
    tensor: hidden === null ? 'anchor.feature' : 'anchor.hidden',
    layers: single ? places.layers.slice(0, 1) : places.layers,
    poolings: single ? places.poolings.slice(0, 1) : places.poolings,
  };
}
