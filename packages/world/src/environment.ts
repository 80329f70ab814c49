/** Numbers (float32) and pictures (RGB, uint8, [height, width, 3]) by LeRobot's keys. */
export type Observation = Readonly<Record<string, Float32Array | Uint8Array>>;

/** Height and width of a camera's pictures, pixels. */
export type ImageSize = readonly [number, number];

/** One entry of an observation, or the action, as in a dataset's info.json. */
export interface EnvironmentFeature {
  readonly dtype: 'float32' | 'uint8';
  /** Of one frame; pictures [height, width, 3]. */
  readonly shape: readonly number[];
  readonly names: readonly string[];
}

/** What is known of the moment but not observed. */
export interface EnvironmentInfo {
  /** The instruction. */
  readonly task: string;
  readonly success: boolean;
  /** Names of all tasks that count as done now, whether asked for or not. */
  readonly achieved: readonly string[];
}

export interface StepResult {
  readonly observation: Observation;
  /** 1 when the task is done, else 0. */
  readonly reward: number;
  /** The task is done. */
  readonly terminated: boolean;
  /** The time is over. */
  readonly truncated: boolean;
  readonly info: EnvironmentInfo;
}

/** Options of a step. */
export interface StepOptions {
  /**
   * false: nobody looks at the pictures, so they need not be drawn, and their keys may be missing from the observation; those of an
   * episode's last observation are always there. Numbers are never left out. Default true, as in Gymnasium.
   */
  cameras?: boolean;
}

/** A scripted solver of an environment's task. */
export interface Expert {
  /** The action for the environment's present state; call once per step. */
  act(): Float32Array;
}

/** How an expert goes about it. */
export interface ExpertOptions {
  /** Decides the small differences from one episode to another. */
  seed: number;
}

/**
 * A world with one robot and one task, in Gymnasium's shape. Other environments are added by implementing this and listing them in
 * `makeEnvironment`.
 */
export interface Environment {
  /** Actions per second. */
  readonly fps: number;
  /** Steps after which an episode is truncated. */
  readonly maxSteps: number;
  /** Name of the task. */
  readonly task: string;
  /** What the robot is told. */
  readonly instruction: string;
  /** Kind of robot, for datasets. */
  readonly robotType: string;
  readonly observationFeatures: Readonly<Record<string, EnvironmentFeature>>;
  readonly actionFeature: EnvironmentFeature;
  /** Begins the episode of that seed; the same seed gives the same bits. */
  reset(seed: number): { observation: Observation; info: EnvironmentInfo };
  /**
   * @param action of `actionFeature`'s width
   * @throws CraftError `ENV_ACTION` for an action of another width or with numbers that are not finite, `ENV_DONE` when the episode is
   * over or has not begun, `SIMULATION_UNSTABLE`
   */
  step(action: ArrayLike<number>, options?: StepOptions): StepResult;
  /** A picture for people, RGB. */
  render(width: number, height: number): Uint8Array;
  /** A solver of the present episode; null where there is none. */
  expert(options: ExpertOptions): Expert | null;
  /** Frees what no garbage collector does. */
  dispose(): void;
}
