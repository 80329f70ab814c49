import { CraftError } from '@craft-ft/torch/errors';
import load, { type MainModule, type MjData, type MjModel } from '@mujoco/mujoco';

/** Kinds of named objects in a scene. */
type ObjectKind = 'body' | 'joint' | 'geom' | 'site' | 'camera' | 'actuator';

/**
 * A compiled scene and its state.
 *
 * Model and state live on the WebAssembly heap, which the garbage collector does not manage: call `dispose()` when done. Arrays of the
 * state are views into that heap; get them again after every call into MuJoCo, because the heap may have moved.
 */
export class Simulation {
  readonly mujoco: Mujoco;
  readonly model: MjModel;
  readonly data: MjData;
  /** Seconds of one physics step. */
  readonly timestep: number;
  readonly #where: string;
  readonly #owned: { delete(): void }[];

  private constructor(mujoco: Mujoco, model: MjModel, where: string) {
    this.mujoco = mujoco;
    this.model = model;
    this.#where = where;
    this.data = new mujoco.MjData(model);
    this.#owned = [this.data, model];
    this.timestep = model.opt.timestep;
  }

  /**
   * @param xml the scene, MJCF
   * @param where names it in messages. Default `the scene`
   * @throws CraftError `MJCF_INVALID`
   */
  static async create(xml: string, where = 'the scene'): Promise<Simulation> {
    const mujoco = await loadMujoco();
    return new Simulation(mujoco, compileModel(mujoco, xml, where), where);
  }

  /** A second state of the same scene, for what-if computations; freed with the simulation. */
  scratch(): MjData {
    return this.own(new this.mujoco.MjData(this.model));
  }

  /** Ties an object on the WebAssembly heap to the lifetime of the simulation. */
  own<T extends { delete(): void }>(thing: T): T {
    this.#owned.unshift(thing);
    return thing;
  }

  /** Index of a named object. @throws CraftError `SCENE_NAME` if the scene has none of that name */
  id(kind: ObjectKind, name: string): number {
    const { mjtObj } = this.mujoco;
    const kinds = {
      body: mjtObj.mjOBJ_BODY,
      joint: mjtObj.mjOBJ_JOINT,
      geom: mjtObj.mjOBJ_GEOM,
      site: mjtObj.mjOBJ_SITE,
      camera: mjtObj.mjOBJ_CAMERA,
      actuator: mjtObj.mjOBJ_ACTUATOR,
    };
    const id = this.mujoco.mj_name2id(this.model, kinds[kind].value, name);
    if (id < 0) throw new CraftError('SCENE_NAME', `${this.#where}: there is no ${kind} named "${name}"`);
    return id;
  }

  /** Whether the scene has an object of that name. */
  has(kind: ObjectKind, name: string): boolean {
    try {
      return this.id(kind, name) >= 0;
    } catch (error) {
      if (error instanceof CraftError && error.code === 'SCENE_NAME') return false;
      throw error;
    }
  }

  /** Resets everything to the scene's initial state, so that nothing depends on earlier episodes. */
  resetState(): void {
    this.mujoco.mj_resetData(this.model, this.data);
  }

  /** Recomputes everything that follows from positions and velocities. */
  forward(): void {
    this.mujoco.mj_forward(this.model, this.data);
  }

  /**
   * @param steps physics steps
   * @throws CraftError `SIMULATION_UNSTABLE` if the physics diverged, or a control is not a usable number
   */
  step(steps: number): void {
    const { mujoco, model, data } = this;
    const end = data.time + (steps - 0.5) * this.timestep;
    const before = this.#alarms();
    for (let i = 0; i < steps; i++) mujoco.mj_step(model, data);
    const alarmed = this.#alarms().some((count, kind) => count !== before[kind]);
    // MuJoCo resets itself when it finds numbers that are not finite or far too large, and counts time from zero again.
    if (alarmed || !(data.time > end)) {
      throw new CraftError(
        'SIMULATION_UNSTABLE',
        `${this.#where}: the simulation became unstable; use smaller actions, a shorter timestep or softer actuators`,
      );
    }
  }

  /** How often MuJoCo has found positions, velocities, accelerations or controls that are not finite or far too large. */
  #alarms(): number[] {
    const { mjWARN_BADQPOS, mjWARN_BADQVEL, mjWARN_BADQACC, mjWARN_BADCTRL } = this.mujoco.mjtWarning;
    const { warning } = this.data;
    return [mjWARN_BADQPOS, mjWARN_BADQVEL, mjWARN_BADQACC, mjWARN_BADCTRL].map(({ value }) => {
      const found = warning.get(value)!;
      const { number } = found;
      found.delete();
      return number;
    });
  }

  /** Frees everything. Idempotent. */
  dispose(): void {
    for (const thing of this.#owned.splice(0)) thing.delete();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

export type { DoubleBuffer, IntBuffer } from '@mujoco/mujoco';

type Mujoco = MainModule;

let loading: Promise<Mujoco> | undefined;

/** DeepMind's WebAssembly build of MuJoCo, loaded once per thread. */
function loadMujoco(): Promise<Mujoco> {
  // What MuJoCo warns about (an unstable simulation) is found in the data; nothing may write to the program's output.
  loading ??= load({ print: () => {}, printErr: () => {} });
  return loading;
}

/**
 * Compiles a scene. The result lives on the WebAssembly heap: `delete()` it.
 *
 * @param xml MJCF
 * @param where names the scene in messages
 * @throws CraftError `MJCF_INVALID` with MuJoCo's own reason
 */
function compileModel(mujoco: Mujoco, xml: string, where: string): MjModel {
  let model: MjModel | null;
  try {
    model = mujoco.MjModel.from_xml_string(xml);
  } catch (error) {
    const reason = (error instanceof Error ? error.message : String(error))
      .replace(/^MuJoCo Error: (Loading error: )?/, '')
      .trim()
      .replace(/\s*\n\s*/g, ', ');
    throw new CraftError('MJCF_INVALID', `${where}: the scene does not compile: ${reason}`, { cause: error });
  }
  if (model === null) throw new CraftError('MJCF_INVALID', `${where}: the scene does not compile`);
  return model;
}
