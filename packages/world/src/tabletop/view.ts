import type { Simulation } from '../engine/simulation.js';
import { ARM_JOINTS, ARM_SIZE, toRadians, toUnits } from './arm.js';

export type Point = readonly [number, number, number];
/** Objects that an episode may place. */
const FIXTURES = ['red_bin', 'blue_bin', 'button', 'zones'] as const;
export const CUBES = ['green_cube', 'yellow_cube'] as const;
export type Fixture = (typeof FIXTURES)[number];
type Cube = (typeof CUBES)[number];

interface JointAddress {
  position: number;
  velocity: number;
}

/** The tabletop's state by name, in metres and radians; read from and written to a simulation. */
export class TabletopView {
  readonly #simulation: Simulation;
  readonly #joints: readonly JointAddress[];
  readonly #actuators: readonly number[];
  readonly #cubes: Readonly<Record<Cube, JointAddress>>;
  readonly #fixtures: Readonly<Record<Fixture, number>>;
  readonly #button: JointAddress;
  readonly #grasp: number;

  constructor(simulation: Simulation) {
    const { model } = simulation;
    const address = (name: string): JointAddress => {
      const joint = simulation.id('joint', name);
      return { position: model.jnt_qposadr[joint], velocity: model.jnt_dofadr[joint] };
    };
    const mocap = (name: string): number => model.body_mocapid[simulation.id('body', name)];
    this.#simulation = simulation;
    this.#joints = ARM_JOINTS.map(({ name }) => address(name));
    this.#actuators = ARM_JOINTS.map(({ name }) => simulation.id('actuator', name));
    this.#cubes = { green_cube: address('green_cube'), yellow_cube: address('yellow_cube') };
    this.#fixtures = {
      red_bin: mocap('red_bin'),
      blue_bin: mocap('blue_bin'),
      button: mocap('button'),
      zones: mocap('zones'),
    };
    this.#button = address('button');
    this.#grasp = simulation.id('site', 'grasp');
  }

  /** Angles of the arm's joints, radians. */
  angles(): number[] {
    const qpos = this.#simulation.data.qpos as Float64Array;
    return this.#joints.map(({ position }) => qpos[position]!);
  }

  /** The arm's state in the units of observations: degrees; the gripper 0 to 100. */
  state(): Float32Array {
    return Float32Array.from(this.angles(), (angle, joint) => toUnits(joint, angle));
  }

  /** Puts the arm in a pose at rest, held there by its servos. */
  setAngles(angles: readonly number[]): void {
    const { data } = this.#simulation;
    angles.forEach((angle, joint) => {
      data.qpos[this.#joints[joint]!.position] = angle;
      data.ctrl[this.#actuators[joint]!] = angle;
    });
  }

  /** Sets the targets of the servos, in the units of observations, clamped to the joints' limits. */
  command(action: ArrayLike<number>): void {
    const ctrl = this.#simulation.data.ctrl as Float64Array;
    for (let joint = 0; joint < ARM_SIZE; joint++) {
      const [low, high] = ARM_JOINTS[joint]!.range;
      ctrl[this.#actuators[joint]!] = Math.min(high, Math.max(low, toRadians(joint, action[joint]!)));
    }
  }

  /** How far the gripper is open, 0 to 100. */
  get opening(): number {
    return this.state()[ARM_SIZE - 1]!;
  }

  /** The point between the jaws. */
  grasp(): Point {
    const at = 3 * this.#grasp;
    const places = this.#simulation.data.site_xpos as Float64Array;
    return [places[at]!, places[at + 1]!, places[at + 2]!];
  }

  /** Turn of the hand about the vertical, radians, while it points down: turning the base and rolling the wrist then turn it alike. */
  handYaw(): number {
    const angles = this.angles();
    return angles[0]! - angles[4]!;
  }

  cube(name: Cube): Point {
    const at = this.#cubes[name].position;
    const qpos = this.#simulation.data.qpos as Float64Array;
    return [qpos[at]!, qpos[at + 1]!, qpos[at + 2]!];
  }

  /** Rotation of a cube about the vertical, radians. */
  yaw(name: Cube): number {
    const at = this.#cubes[name].position + 3;
    const [w = 1, x = 0, y = 0, z = 0] = (this.#simulation.data.qpos as Float64Array).subarray(at, at + 4);
    return Math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z));
  }

  /** How fast a cube moves, metres per second. */
  speed(name: Cube): number {
    const at = this.#cubes[name].velocity;
    const [x = 0, y = 0, z = 0] = (this.#simulation.data.qvel as Float64Array).subarray(at, at + 3);
    return Math.hypot(x, y, z);
  }

  placeCube(name: Cube, [x, y, z]: Point, yaw: number): void {
    const pose = [x, y, z, Math.cos(yaw / 2), 0, 0, Math.sin(yaw / 2)];
    (this.#simulation.data.qpos as Float64Array).set(pose, this.#cubes[name].position);
  }

  fixture(name: Fixture): Point {
    const at = 3 * this.#fixtures[name];
    const places = this.#simulation.data.mocap_pos as Float64Array;
    return [places[at]!, places[at + 1]!, places[at + 2]!];
  }

  placeFixture(name: Fixture, place: Point): void {
    (this.#simulation.data.mocap_pos as Float64Array).set(place, 3 * this.#fixtures[name]);
  }

  /** How far the button's cap is pressed down, metres. */
  get pressed(): number {
    return this.#simulation.data.qpos[this.#button.position];
  }

  set pressed(depth: number) {
    this.#simulation.data.qpos[this.#button.position] = depth;
  }
}

/** Distance of two places, metres. */
export function distance(a: Point, b: Point): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

/**
 * Contents of `observation.environment_state`: metres, and for the cubes and the hand the rotation about the vertical (the hand's is valid
 * while it points down). All zero for an object that is not on the table. The hand's position is where the jaws meet: with it, a policy
 * need not learn the arm's kinematics to know its distance from an object.
 */
export const ENVIRONMENT_STATE_NAMES: readonly string[] = [
  ...CUBES.flatMap((cube) => ['x', 'y', 'z', 'cos', 'sin'].map((part) => `${cube}_${part}`)),
  'red_bin_x',
  'red_bin_y',
  'blue_bin_x',
  'blue_bin_y',
  'button_x',
  'button_y',
  'button_pressed',
  'hand_x',
  'hand_y',
  'hand_z',
  'hand_cos',
  'hand_sin',
];

/** Object positions, [22]; see {@link ENVIRONMENT_STATE_NAMES}. */
export function environmentState(view: TabletopView): Float32Array {
  const values: number[] = [];
  for (const cube of CUBES) {
    const place = view.cube(cube);
    const yaw = view.yaw(cube);
    values.push(...(isHere(place) ? [...place, Math.cos(yaw), Math.sin(yaw)] : [0, 0, 0, 0, 0]));
  }
  for (const name of ['red_bin', 'blue_bin', 'button'] as const) {
    const place = view.fixture(name);
    values.push(...(isHere(place) ? place.slice(0, 2) : [0, 0]));
  }
  values.push(view.pressed);
  const turn = view.handYaw();
  values.push(...view.grasp(), Math.cos(turn), Math.sin(turn));
  return Float32Array.from(values);
}

function isHere([, , z]: Point): boolean {
  return z > -0.1;
}
