/** Numbers (float32) and images (RGB, uint8, [height, width, 3]) by LeRobot's keys. */
export type Observation = Readonly<Record<string, Float32Array | Uint8Array>>;

/** Height and width of a camera's images, pixels. */
export type ImageSize = readonly [number, number];

/** One entry of an observation, or the action, as in a dataset's info.json. */
export interface EnvironmentFeature {
  readonly dtype: 'float32' | 'uint8';
  /** Of one frame; images are [height, width, 3]. */
  readonly shape: readonly number[];
  readonly names: readonly string[];
}

/** Facts about the current state that are not observed. */
export interface EnvironmentInfo {
  /** The instruction. */
  readonly task: string;
  readonly success: boolean;
  /** Names of all tasks that are done now, requested or not. */
  readonly achieved: readonly string[];
}

export interface StepResult {
  readonly observation: Observation;
  /** 1 when the task is done, else 0. */
  readonly reward: number;
  /** The task is done. */
  readonly terminated: boolean;
  /** The time limit is reached. */
  readonly truncated: boolean;
  readonly info: EnvironmentInfo;
}

/** Options of a step. */
export interface StepOptions {
  /**
   * false: nobody looks at the images, so they need not be rendered and their keys may be missing from the observation; those of an
   * episode's last observation are always present. Numbers are never left out. Default true, as in Gymnasium.
   */
  cameras?: boolean;
}

/** A scripted solver of an environment's task. */
export interface Expert {
  /** The action for the environment's current state; call once per step. */
  act(): Float32Array;
}

/** Options of an expert. */
export interface ExpertOptions {
  /** Determines the small differences between episodes. */
  seed: number;
}

/**
 * A world with one robot and one task, with Gymnasium's interface. To add an environment, implement this and list it in `makeEnvironment`.
 */
export interface Environment {
  /** Actions per second. */
  readonly fps: number;
  /** Steps after which an episode is truncated. */
  readonly maxSteps: number;
  /** Name of the task. */
  readonly task: string;
  /** The instruction given to the robot. */
  readonly instruction: string;
  /** Kind of robot, for datasets. */
  readonly robotType: string;
  readonly observationFeatures: Readonly<Record<string, EnvironmentFeature>>;
  readonly actionFeature: EnvironmentFeature;
  /** Starts the episode of that seed; the same seed gives the same bits. */
  reset(seed: number): { observation: Observation; info: EnvironmentInfo };
  /**
   * @param action of `actionFeature`'s width
   * @throws CraftError `ENV_ACTION` for an action of another width or with numbers that are not finite, `ENV_DONE` if the episode is over
   * or has not begun, `SIMULATION_UNSTABLE`
   */
  step(action: ArrayLike<number>, options?: StepOptions): StepResult;
  /** An image for human viewers, RGB. */
  render(width: number, height: number): Uint8Array;
  /** A solver of the current episode; null if there is none. */
  expert(options: ExpertOptions): Expert | null;
  /** Frees what the garbage collector does not. */
  dispose(): void;
}
