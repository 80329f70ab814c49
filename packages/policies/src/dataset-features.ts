import { type FeatureSource, imageShape, isBookkeeping } from '@craft-ft/datasets';
import { CraftError } from '@craft-ft/torch';
import type { FeatureType, PolicyFeature, PolicyFeatures } from './config/policy-fields.js';
import type { PolicyConfig } from './registry.js';

/** Features of a dataset by policy key. */
export type FeatureSources = Readonly<Record<string, FeatureSource>>;

function featureType(key: string): FeatureType | undefined {
  if (key === 'observation.state') return 'STATE';
  if (key === 'observation.environment_state') return 'ENV';
  if (key === 'observation.image' || key.startsWith('observation.images.')) return 'VISUAL';
  return key === 'action' ? 'ACTION' : undefined;
}

/** Which cameras a new policy uses, and at what size. */
export interface CameraOptions {
  /** Policy keys. Default: every camera. */
  cameras?: readonly string[];
  /** Height and width. Default: as recorded. */
  imageSize?: readonly [number, number];
}

function sized(shape: number[], size: readonly [number, number] | undefined): number[] {
  return size === undefined ? shape : [shape[0]!, ...size];
}

/**
 * The features of a dataset that policies know by name: `observation.state`, `observation.environment_state`, `observation.images.*`
 * (and `observation.image`), `action`.
 *
 * @throws CraftError `POLICY_FEATURES` for a camera whose shape is not that of an image
 */
export function datasetPolicyFeatures(
  sources: FeatureSources,
  options: CameraOptions = {},
): { inputs: PolicyFeatures; outputs: PolicyFeatures } {
  const inputs: PolicyFeatures = {};
  const outputs: PolicyFeatures = {};
  for (const [key, source] of Object.entries(sources)) {
    const type = featureType(key);
    if (type === undefined || (type === 'VISUAL' && options.cameras?.includes(key) === false)) continue;
    const shape = type === 'VISUAL' ? sized(imageShape(key, source), options.imageSize) : [...source.shape];
    (type === 'ACTION' ? outputs : inputs)[key] = { type, shape };
  }
  return { inputs, outputs };
}

/**
 * Fills empty `input_features` and `output_features` from a dataset, and checks that the dataset has the others.
 *
 * @param where names the dataset in messages. Default `the dataset`
 * @throws CraftError `POLICY_FEATURES` naming every feature that is missing from the dataset or has a different shape
 */
export function withDatasetFeatures<C extends PolicyConfig>(
  config: C,
  sources: FeatureSources,
  where = 'the dataset',
  options: CameraOptions = {},
): C {
  const { inputs, outputs } = datasetPolicyFeatures(sources, options);
  const filled = {
    ...config,
    input_features: isEmpty(config.input_features) ? inputs : config.input_features,
    output_features: isEmpty(config.output_features) ? outputs : config.output_features,
  };
  const wanted = Object.entries({ ...filled.input_features, ...filled.output_features });
  const problems = wanted.flatMap(([key, feature]) => mismatch(key, feature, sources) ?? []);
  const unknown = options.cameras?.filter((camera) => sources[camera] === undefined) ?? [];
  if (isEmpty(config.input_features))
    problems.push(...unknown.map((camera) => `camera "${camera}" is missing`));
  if (isEmpty(filled.input_features)) problems.push('"observation.state" is missing');
  if (isEmpty(filled.output_features)) problems.push('"action" is missing');
  if (problems.length === 0) return filled;
  const has = Object.keys(sources)
    .filter((key) => !isBookkeeping(key))
    .join(', ');
  throw new CraftError(
    'POLICY_FEATURES',
    `${where} does not fit the policy: ${problems.join('; ')}; the dataset has ${has} (--rename_map gives them other names)`,
  );
}

function mismatch(key: string, { type, shape }: PolicyFeature, sources: FeatureSources): string | undefined {
  const source = sources[key];
  if (source === undefined) return `"${key}" is missing`;
  const found = type === 'VISUAL' ? imageShape(key, source) : source.shape;
  // Frames are resized to the policy's input size.
  const compared = type === 'VISUAL' ? 1 : found.length;
  const same =
    found.length === shape.length && found.slice(0, compared).every((size, i) => size === shape[i]);
  return same ? undefined : `"${key}" has shape [${found}], the policy's is [${shape}]`;
}

function isEmpty(features: PolicyFeatures): boolean {
  return Object.keys(features).length === 0;
}

/** Fills in the names of the action's dimensions if the configuration has an empty field for them; see `relativeMask`. */
export function withActionNames<C extends PolicyConfig>(config: C, sources: FeatureSources): C {
  if (!('action_feature_names' in config) || config.action_feature_names !== null) return config;
  const names = sources.action?.names;
  // Some datasets have {"motors": [...]}.
  const list =
    typeof names === 'object' && names !== null && !Array.isArray(names) ? Object.values(names)[0] : names;
  if (!Array.isArray(list) || !list.every((name) => typeof name === 'string')) return config;
  return { ...config, action_feature_names: list };
}
