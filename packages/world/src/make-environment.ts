import { CraftError } from '@craft-ft/torch/errors';
import type { Environment, ImageSize } from './environment.js';
import { ENVIRONMENT_TYPES, type EnvironmentType, type TabletopCamera, type TabletopTask } from './names.js';
import { TabletopEnvironment } from './tabletop/environment.js';

/** Specifies an environment: plain data, so that it can be sent to worker threads. */
export interface EnvironmentSpec {
  /** Default `tabletop`. */
  type?: EnvironmentType;
  task: string;
  /** Cameras that are observed. Default none. */
  cameras?: readonly string[];
  /** Size of their images, one for all or by the camera's name. Default [96, 96]. */
  imageSize?: ImageSize | Readonly<Record<string, ImageSize>>;
  /** Whether object poses are observed. Default true. */
  environmentState?: boolean;
}

/**
 * An environment by its name.
 *
 * @throws CraftError `ENV_TYPE`, and whatever the environment throws for its options
 */
export async function makeEnvironment(spec: EnvironmentSpec): Promise<Environment> {
  const { type = 'tabletop', task, cameras = [], ...rest } = spec;
  if (type !== 'tabletop') {
    const known = ENVIRONMENT_TYPES.join(', ');
    throw new CraftError('ENV_TYPE', `there is no environment "${String(type)}"; there are ${known}`);
  }
  // Validated by the environment itself.
  const checked = { task: task as TabletopTask, cameras: cameras as readonly TabletopCamera[] };
  return TabletopEnvironment.create({ ...checked, ...rest });
}
