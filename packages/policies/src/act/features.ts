import { CraftError } from '@craft-ft/torch';
import { findFeature } from '../policy.js';
import type { ActConfig } from './configuration.js';

/** A feature that ACT uses. */
export interface ActFeature {
  /** Its key in a batch. */
  readonly name: string;
  /** Without the batch dimension. */
  readonly shape: readonly number[];
}

/** The inputs and the output of an ACT model, as LeRobot picks them out of a configuration. */
export interface ActFeatures {
  /** `observation.state`, `[s]`. Other features of type STATE are not used. */
  readonly state: ActFeature | undefined;
  /** The first feature of type ENV, `[e]`. */
  readonly environment: ActFeature | undefined;
  /** Every feature of type VISUAL, `[channels, height, width]`, in the configuration's order. */
  readonly cameras: readonly ActFeature[];
  /** `action`, `[a]` */
  readonly action: ActFeature;
}

/** @throws CraftError `POLICY_FEATURES` where there is no input or no action, or one is not a vector */
export function actFeatures(config: Pick<ActConfig, 'input_features' | 'output_features'>): ActFeatures {
  const { input_features: inputs, output_features: outputs } = config;
  const state = findFeature(inputs, (name, type) => type === 'STATE' && name === 'observation.state');
  const environment = findFeature(inputs, (_, type) => type === 'ENV');
  const action = findFeature(outputs, (name, type) => type === 'ACTION' && name === 'action');
  const cameras = Object.entries(inputs)
    .filter(([, { type }]) => type === 'VISUAL')
    .map(([name, { shape }]) => ({ name, shape }));
  if (action === undefined) {
    throw refuse(
      'policy.output_features: ACT needs "action" of type ACTION; map the dataset\'s name with --rename_map',
    );
  }
  if (state === undefined && environment === undefined && cameras.length === 0) {
    const message =
      'policy.input_features: ACT needs observation.state, observation.environment_state or a camera';
    throw refuse(`${message}; map the dataset's names with --rename_map`);
  }
  for (const vector of [state, environment, action]) {
    if (vector !== undefined && vector.shape.length !== 1) {
      throw refuse(`policy: "${vector.name}" has shape [${vector.shape}], ACT expects a vector`);
    }
  }
  return { state, environment, cameras, action };
}

function refuse(message: string): CraftError {
  return new CraftError('POLICY_FEATURES', message);
}
