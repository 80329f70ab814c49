import type { Simulation } from './simulation.js';

/** Target of a site: a position and the directions of its axes (columns of a row-major rotation matrix). */
export interface SitePose {
  position: readonly [number, number, number];
  rotation: readonly number[];
}

export interface InverseKinematicsOptions {
  /** Names of the joints that may move. */
  joints: readonly string[];
  /** Name of the site to place. */
  site: string;
  /** Weight of a radian of orientation error, in metres. Small: position comes first. Default 0.02. */
  rotationWeight?: number;
  /** Damping of the least squares, metres per radian. Default 0.01. */
  damping?: number;
  /** Default 15. */
  iterations?: number;
}

const SMALL_STEP = 1e-5;
const LARGEST_STEP = 0.35;

/**
 * Inverse kinematics by damped least squares (Wampler 1986) on MuJoCo's site Jacobians. It works on its own state, so the simulation is not
 * touched. Joint limits are enforced by clamping.
 */
export class InverseKinematics {
  readonly #simulation: Simulation;
  readonly #data;
  readonly #site: number;
  readonly #positions: readonly number[];
  readonly #columns: readonly number[];
  readonly #ranges: readonly (readonly [number, number])[];
  readonly #weight: number;
  readonly #damping: number;
  readonly #iterations: number;
  readonly #linear;
  readonly #angular;

  constructor(simulation: Simulation, options: InverseKinematicsOptions) {
    const { mujoco, model } = simulation;
    const joints = options.joints.map((name) => simulation.id('joint', name));
    this.#simulation = simulation;
    this.#data = simulation.scratch();
    this.#site = simulation.id('site', options.site);
    this.#positions = joints.map((joint) => model.jnt_qposadr[joint]);
    this.#columns = joints.map((joint) => model.jnt_dofadr[joint]);
    this.#ranges = joints.map((joint) => [model.jnt_range[2 * joint], model.jnt_range[2 * joint + 1]]);
    this.#weight = options.rotationWeight ?? 0.02;
    this.#damping = options.damping ?? 0.01;
    this.#iterations = options.iterations ?? 15;
    this.#linear = simulation.own(new mujoco.DoubleBuffer(3 * model.nv));
    this.#angular = simulation.own(new mujoco.DoubleBuffer(3 * model.nv));
  }

  /**
   * @param from joint angles to start at, radians
   * @returns joint angles that come closest to the pose
   */
  solve(target: SitePose, from: readonly number[]): number[] {
    const { mujoco, model } = this.#simulation;
    const data = this.#data;
    const angles = [...from];
    for (let iteration = 0; iteration < this.#iterations; iteration++) {
      const qpos = data.qpos as Float64Array;
      angles.forEach((angle, i) => {
        qpos[this.#positions[i]!] = angle;
      });
      mujoco.mj_kinematics(model, data);
      mujoco.mj_comPos(model, data);
      mujoco.mj_jacSite(model, data, this.#linear, this.#angular, this.#site);
      const step = this.#step(target);
      let largest = 0;
      step.forEach((value, i) => {
        const [low, high] = this.#ranges[i]!;
        angles[i] = Math.min(high, Math.max(low, angles[i]! + value));
        largest = Math.max(largest, Math.abs(value));
      });
      if (largest < SMALL_STEP) break;
    }
    return angles;
  }

  /** `(JᵀJ + λ²I)⁻¹ Jᵀ e`, shortened if it is long. */
  #step({ position, rotation }: SitePose): number[] {
    const site = this.#site;
    const at = (this.#data.site_xpos as Float64Array).subarray(3 * site, 3 * site + 3);
    const axes = (this.#data.site_xmat as Float64Array).subarray(9 * site, 9 * site + 9);
    const turn = rotationError(axes, rotation);
    const error = [
      ...position.map((value, i) => value - at[i]!),
      ...turn.map((value) => value * this.#weight),
    ];
    const nv: number = this.#simulation.model.nv;
    const linear = this.#linear.GetView() as Float64Array;
    const angular = this.#angular.GetView() as Float64Array;
    const jacobian = error.map((_, row) =>
      this.#columns.map((column) =>
        row < 3 ? linear[row * nv + column]! : angular[(row - 3) * nv + column]! * this.#weight,
      ),
    );
    const size = this.#columns.length;
    const normal = Array.from({ length: size }, (_, i) =>
      Array.from(
        { length: size },
        (_, j) =>
          jacobian.reduce((sum, row) => sum + row[i]! * row[j]!, 0) + (i === j ? this.#damping ** 2 : 0),
      ),
    );
    const right = Array.from({ length: size }, (_, i) =>
      jacobian.reduce((sum, row, k) => sum + row[i]! * error[k]!, 0),
    );
    const step = solvePositive(normal, right);
    const shrink = Math.min(1, LARGEST_STEP / Math.max(...step.map(Math.abs), 1e-12));
    return step.map((value) => value * shrink);
  }
}

/** The rotation vector from one set of axes to another: half the sum of the cross products of their columns. */
function rotationError(from: ArrayLike<number>, to: ArrayLike<number>): [number, number, number] {
  const error: [number, number, number] = [0, 0, 0];
  for (let column = 0; column < 3; column++) {
    const [a, b, c] = [from[column]!, from[3 + column]!, from[6 + column]!];
    const [x, y, z] = [to[column]!, to[3 + column]!, to[6 + column]!];
    error[0] += (b * z - c * y) / 2;
    error[1] += (c * x - a * z) / 2;
    error[2] += (a * y - b * x) / 2;
  }
  return error;
}

/** Solves a symmetric positive definite system by elimination; changes its arguments. */
function solvePositive(matrix: number[][], right: number[]): number[] {
  const size = right.length;
  for (let pivot = 0; pivot < size; pivot++) {
    for (let row = pivot + 1; row < size; row++) {
      const factor = matrix[row]![pivot]! / matrix[pivot]![pivot]!;
      for (let column = pivot; column < size; column++)
        matrix[row]![column]! -= factor * matrix[pivot]![column]!;
      right[row]! -= factor * right[pivot]!;
    }
  }
  for (let row = size - 1; row >= 0; row--) {
    for (let column = row + 1; column < size; column++) right[row]! -= matrix[row]![column]! * right[column]!;
    right[row]! /= matrix[row]![row]!;
  }
  return right;
}
