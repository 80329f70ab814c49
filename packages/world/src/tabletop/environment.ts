import { SFC32_SEEDS, Sfc32 } from '@craft-ft/datasets/random';
import { CraftError } from '@craft-ft/torch/errors';
import { RayCamera } from '../engine/camera.js';
import { InverseKinematics } from '../engine/inverse-kinematics.js';
import { Simulation } from '../engine/simulation.js';
import type {
  Environment,
  EnvironmentFeature,
  EnvironmentInfo,
  Expert,
  ExpertOptions,
  ImageSize,
  Observation,
  StepOptions,
  StepResult,
} from '../environment.js';
import { TABLETOP_CAMERAS, TABLETOP_TASKS, type TabletopCamera, type TabletopTask } from '../names.js';
import { ARM_FEATURE_NAMES, ARM_JOINTS, ARM_SIZE, GRIPPER } from './arm.js';
import { WaypointExpert, waypoints } from './expert.js';
import { TABLETOP_XML } from './scene.js';
import { achievedTasks, layOut, TASKS } from './tasks.js';
import { ENVIRONMENT_STATE_NAMES, environmentState, TabletopView } from './view.js';

/** Options of {@link TabletopEnvironment.create}. */
export interface TabletopOptions {
  task: TabletopTask;
  /** Cameras that are observed, as `observation.images.<name>`. Default none. */
  cameras?: readonly TabletopCamera[];
  /** Size of the cameras' images, one for all or by the camera's name. Default [96, 96]. */
  imageSize?: ImageSize | Readonly<Record<string, ImageSize>>;
  /** Whether object poses are observed, as `observation.environment_state`. Default true. */
  environmentState?: boolean;
  /** Whether images have shadows; rendering then takes twice as long. Default false. */
  shadows?: boolean;
}

/** Actions per second. */
const FPS = 25;
const PHYSICS_STEPS = 20;
const RESET_STREAM = 0;
const EXPERT_STREAM = 1;

/**
 * A 6-joint arm of the SO-101's proportions on a table with cubes, bins and a button.
 *
 * Observations: `observation.state` (joint positions: degrees, the gripper 0 closed to 100 open, as LeRobot's SO-101),
 * `observation.environment_state` (object poses, see {@link ENVIRONMENT_STATE_NAMES}), `observation.images.<camera>`.
 * Actions: the joints' targets in the same units, 25 a second over physics steps of 2 ms.
 *
 * @example
 * ```ts
 * const env = await TabletopEnvironment.create({ task: 'place-in-red-bin', cameras: ['top'] });
 * let { observation } = env.reset(7);
 * const expert = env.expert({ seed: 7 });
 * for (let over = false; !over; ) {
 *   const step = env.step(expert.act());
 *   observation = step.observation;
 *   over = step.terminated || step.truncated;
 * }
 * env.dispose();
 * ```
 */
export class TabletopEnvironment implements Environment {
  readonly fps = FPS;
  readonly robotType = 'so101_tabletop';
  readonly task: TabletopTask;
  readonly instruction: string;
  readonly maxSteps: number;
  readonly observationFeatures: Readonly<Record<string, EnvironmentFeature>>;
  readonly actionFeature: EnvironmentFeature = {
    dtype: 'float32',
    shape: [ARM_SIZE],
    names: ARM_FEATURE_NAMES,
  };
  readonly #simulation: Simulation;
  readonly #view: TabletopView;
  readonly #cameras: ReadonlyMap<string, RayCamera>;
  readonly #viewers = new Map<string, RayCamera>();
  readonly #environmentState: boolean;
  #kinematics: InverseKinematics | undefined;
  /** Steps of the current episode so far; null if none is running. */
  #steps: number | null = null;

  private constructor(simulation: Simulation, options: TabletopOptions) {
    const { task, cameras = [], imageSize, environmentState = true, shadows = false } = options;
    this.task = task;
    this.instruction = TASKS[task].instruction;
    this.maxSteps = Math.round(TASKS[task].timeLimit * FPS);
    this.#simulation = simulation;
    this.#view = new TabletopView(simulation);
    this.#environmentState = environmentState;
    const made = cameras.map((name) => {
      const key = `observation.images.${name}`;
      const [height, width] = sizeOf(name, imageSize);
      return [key, new RayCamera(simulation, name, { width, height, shadows })] as const;
    });
    this.#cameras = new Map(made);
    const numbers = (names: readonly string[]): EnvironmentFeature => ({
      dtype: 'float32',
      shape: [names.length],
      names,
    });
    this.observationFeatures = {
      'observation.state': numbers(ARM_FEATURE_NAMES),
      ...(environmentState ? { 'observation.environment_state': numbers(ENVIRONMENT_STATE_NAMES) } : {}),
      ...Object.fromEntries(
        made.map(([key, { height, width }]): [string, EnvironmentFeature] => [
          key,
          { dtype: 'uint8', shape: [height, width, 3], names: ['height', 'width', 'channels'] },
        ]),
      ),
    };
  }

  /** @throws CraftError `ENV_TASK`, `ENV_CAMERA` for an unknown task or camera, `ENV_IMAGE_SIZE` */
  static async create(options: TabletopOptions): Promise<TabletopEnvironment> {
    if (!TABLETOP_TASKS.includes(options.task)) {
      const known = TABLETOP_TASKS.join(', ');
      throw new CraftError('ENV_TASK', `tabletop: there is no task "${options.task}"; there are ${known}`);
    }
    for (const camera of options.cameras ?? []) {
      if (TABLETOP_CAMERAS.includes(camera)) continue;
      const known = TABLETOP_CAMERAS.join(', ');
      throw new CraftError('ENV_CAMERA', `tabletop: there is no camera "${camera}"; there are ${known}`);
    }
    checkSizes(options.imageSize);
    return new TabletopEnvironment(await Simulation.create(TABLETOP_XML, 'tabletop'), options);
  }

  /** @throws CraftError `ENV_SEED` */
  reset(seed: number): { observation: Observation; info: EnvironmentInfo } {
    checkSeed(seed);
    this.#simulation.resetState();
    layOut(this.#view, TASKS[this.task].scene, new Sfc32(seed, RESET_STREAM));
    this.#simulation.forward();
    this.#steps = 0;
    return { observation: this.#observe(true), info: this.#info() };
  }

  step(action: ArrayLike<number>, { cameras = true }: StepOptions = {}): StepResult {
    if (this.#steps === null) {
      throw new CraftError('ENV_DONE', 'tabletop: no episode is running; call reset before step');
    }
    checkAction(action);
    this.#view.command(action);
    this.#simulation.step(PHYSICS_STEPS);
    // Positions of bodies and sites follow the joints only in the next physics step.
    this.#simulation.forward();
    this.#steps++;
    const info = this.#info();
    const truncated = !info.success && this.#steps >= this.maxSteps;
    const reward = info.success ? 1 : 0;
    const over = info.success || truncated;
    const observation = this.#observe(cameras || over);
    if (over) this.#steps = null;
    return { observation, reward, terminated: info.success, truncated, info };
  }

  /** Scene and state, for drawing or studying them; they change only through the environment. */
  get simulation(): Simulation {
    return this.#simulation;
  }

  /** The front camera's view. */
  render(width: number, height: number): Uint8Array {
    const key = `${width}x${height}`;
    let camera = this.#viewers.get(key);
    if (camera === undefined) {
      camera = new RayCamera(this.#simulation, 'front', { width, height, shadows: true });
      this.#viewers.set(key, camera);
    }
    return camera.render();
  }

  /** Inverse kinematics along waypoints. @throws CraftError `ENV_SEED` */
  expert({ seed }: ExpertOptions): Expert {
    checkSeed(seed);
    const joints = ARM_JOINTS.slice(0, GRIPPER).map(({ name }) => name);
    this.#kinematics ??= new InverseKinematics(this.#simulation, { joints, site: 'grasp' });
    const way = waypoints(this.task, new Sfc32(seed, EXPERT_STREAM));
    return new WaypointExpert(this.#view, this.#kinematics, way, 1 / FPS);
  }

  dispose(): void {
    this.#simulation.dispose();
  }

  #info(): EnvironmentInfo {
    const achieved = achievedTasks(this.#view);
    return { task: this.instruction, success: achieved.includes(this.task), achieved };
  }

  #observe(cameras: boolean): Observation {
    const drawn = cameras ? [...this.#cameras] : [];
    const pictures = drawn.map(([key, camera]) => [key, camera.render()] as const);
    return {
      'observation.state': this.#view.state(),
      ...(this.#environmentState ? { 'observation.environment_state': environmentState(this.#view) } : {}),
      ...Object.fromEntries(pictures),
    };
  }
}

function sizeOf(camera: string, size: TabletopOptions['imageSize']): ImageSize {
  if (size === undefined) return [96, 96];
  return isOne(size) ? size : (size[camera] ?? [96, 96]);
}

function checkSizes(size: TabletopOptions['imageSize']): void {
  if (size === undefined) return;
  for (const one of isOne(size) ? [size] : Object.values(size)) {
    if (one.length === 2 && one.every((pixels) => Number.isInteger(pixels) && pixels > 0)) continue;
    throw new CraftError(
      'ENV_IMAGE_SIZE',
      `tabletop: the image size must be a height and a width, whole numbers from 1 on, not [${one}]`,
    );
  }
}

// Array.isArray does not narrow readonly arrays.
const isOne = (size: NonNullable<TabletopOptions['imageSize']>): size is ImageSize => Array.isArray(size);

/** Any other seed would silently start the episode of one of these: the random generator takes 32 bits. */
function checkSeed(seed: number): void {
  if (Number.isInteger(seed) && seed >= 0 && seed < SFC32_SEEDS) return;
  throw new CraftError(
    'ENV_SEED',
    `tabletop: the seed is ${seed}; expected a whole number from 0 to ${SFC32_SEEDS - 1}`,
  );
}

function checkAction(action: ArrayLike<number>): void {
  if (action?.length !== ARM_SIZE) {
    throw new CraftError(
      'ENV_ACTION',
      `tabletop: the action has ${action?.length ?? 'no'} numbers; expected ${ARM_SIZE}: ${ARM_FEATURE_NAMES.join(', ')}`,
    );
  }
  for (let joint = 0; joint < ARM_SIZE; joint++) {
    if (Number.isFinite(action[joint])) continue;
    throw new CraftError(
      'ENV_ACTION',
      `tabletop: ${ARM_FEATURE_NAMES[joint]} of the action is ${action[joint]}; expected a finite number`,
    );
  }
}
