import type { PolicyFeatures } from '@craft-ft/lerobot';
import { CraftError } from '@craft-ft/torch/errors';
import type { EnvironmentSpec } from '../make-environment.js';
import { TABLETOP_CAMERAS } from '../names.js';
import type { EnvironmentDescription } from '../workers/host.js';

interface PolicyShape {
  readonly input_features: PolicyFeatures;
  readonly output_features: PolicyFeatures;
}

const CAMERA_KEY = 'observation.images.';

/**
 * The environment that shows a policy what it wants to see: its cameras in its size, the things' poses where it uses them.
 *
 * @param renameMap environment key to policy key
 */
export function specForPolicy(
  policy: PolicyShape,
  given: Pick<EnvironmentSpec, 'type' | 'task'>,
  renameMap: Readonly<Record<string, string>> = {},
): EnvironmentSpec {
  const wanted = (key: string) => policy.input_features[renameMap[key] ?? key];
  const cameras = TABLETOP_CAMERAS.filter((name) => wanted(CAMERA_KEY + name) !== undefined);
  const sizes = cameras.map((name) => wanted(CAMERA_KEY + name)!.shape.slice(1));
  const [size] = sizes;
  return {
    ...given,
    cameras,
    ...(size === undefined ? {} : { imageSize: [size[0]!, size[1]!] as const }),
    environmentState: wanted('observation.environment_state') !== undefined,
  };
}

/** @throws CraftError `POLICY_ENVIRONMENT` naming every feature in which policy and environment differ */
export function checkPolicyFits(
  policy: PolicyShape,
  environment: EnvironmentDescription,
  renameMap: Readonly<Record<string, string>> = {},
): void {
  const offered = new Map(
    Object.entries(environment.observationFeatures).map(([key, { dtype, shape }]) => {
      const [height = 0, width = 0, channels = 0] = shape;
      return [renameMap[key] ?? key, dtype === 'uint8' ? [channels, height, width] : [...shape]] as const;
    }),
  );
  const problems: string[] = [];
  for (const [key, { shape }] of Object.entries(policy.input_features)) {
    const found = offered.get(key);
    if (found === undefined) problems.push(`the environment has no "${key}"`);
    else if (String(found) !== String(shape)) {
      problems.push(`"${key}" has shape [${found}] here, the policy's is [${shape}]`);
    }
  }
  const action = policy.output_features.action?.shape ?? [];
  if (String(action) !== String(environment.actionFeature.shape)) {
    problems.push(`actions have shape [${environment.actionFeature.shape}] here, the policy's [${action}]`);
  }
  if (problems.length === 0) return;
  const has = [...offered.keys()].join(', ');
  throw new CraftError(
    'POLICY_ENVIRONMENT',
    `the policy does not fit the environment: ${problems.join('; ')}; the environment has ${has} ` +
      '(--rename_map gives them other names)',
  );
}
