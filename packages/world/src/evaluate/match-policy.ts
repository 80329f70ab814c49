import type { PolicyFeatures } from '@craft-ft/policies';
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
 * The policy's names for what the environment offers, by the environment's keys. A key is not offered if another was renamed to it.
 *
 * @throws CraftError `POLICY_ENVIRONMENT` if two keys get the same name
 */
export function policyKeys(
  keys: readonly string[],
  renameMap: Readonly<Record<string, string>>,
): ReadonlyMap<string, string> {
  const takenBy = new Map<string, string>();
  for (const key of keys) {
    const name = renameMap[key];
    if (name === undefined) continue;
    const other = takenBy.get(name);
    if (other !== undefined) {
      throw new CraftError(
        'POLICY_ENVIRONMENT',
        `rename_map: both "${other}" and "${key}" would be called "${name}"; give each a name of its own`,
      );
    }
    takenBy.set(name, key);
  }
  return new Map(
    keys
      .filter((key) => renameMap[key] !== undefined || !takenBy.has(key))
      .map((key) => [key, renameMap[key] ?? key]),
  );
}

/**
 * The environment that provides what a policy expects: its cameras at its image size, and object poses if it uses them.
 *
 * @param renameMap environment key to policy key
 */
export function specForPolicy(
  policy: PolicyShape,
  given: Pick<EnvironmentSpec, 'type' | 'task'>,
  renameMap: Readonly<Record<string, string>> = {},
): EnvironmentSpec {
  const names = policyKeys(
    [...TABLETOP_CAMERAS.map((name) => CAMERA_KEY + name), 'observation.environment_state'],
    renameMap,
  );
  const wanted = (key: string) => policy.input_features[names.get(key) ?? ''];
  const cameras = TABLETOP_CAMERAS.filter((name) => wanted(CAMERA_KEY + name) !== undefined);
  const sizes = cameras.map((name) => {
    const [height = 0, width = 0] = wanted(CAMERA_KEY + name)!.shape.slice(1);
    return [name, [height, width] as const] as const;
  });
  return {
    ...given,
    cameras,
    imageSize: Object.fromEntries(sizes),
    environmentState: wanted('observation.environment_state') !== undefined,
  };
}

/** @throws CraftError `POLICY_ENVIRONMENT` naming every feature in which policy and environment differ */
export function checkPolicyFits(
  policy: PolicyShape,
  environment: EnvironmentDescription,
  renameMap: Readonly<Record<string, string>> = {},
): void {
  const { observationFeatures: features } = environment;
  const offered = new Map(
    [...policyKeys(Object.keys(features), renameMap)].map(([key, name]) => {
      const { dtype, shape } = features[key]!;
      const [height = 0, width = 0, channels = 0] = shape;
      return [name, dtype === 'uint8' ? [channels, height, width] : [...shape]] as const;
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
