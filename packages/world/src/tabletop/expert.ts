import type { RandomGenerator } from '@craft-ft/datasets/random';
import type { InverseKinematics } from '../engine/inverse-kinematics.js';
import type { Expert } from '../environment.js';
import type { TabletopTask } from '../names.js';
import { ARM_SIZE, toRadians, toUnits } from './arm.js';
import { BUTTON_HEIGHT, CUBE, ZONE } from './scene.js';
import { distance, type Fixture, type Point, type TabletopView } from './view.js';

/**
 * The hand counts as arrived when every joint is within this many radians of its target: positions that the arm cannot quite reach are no
 * reason to wait.
 */
const ARRIVED = 0.04;
/** Or after waiting this many steps. */
const PATIENCE = 6;
/** Radians per second. */
const TURNING = 3;

/**
 * Follows waypoints: a point runs ahead along straight lines, inverse kinematics turn it into joint angles, and the servos follow. Actions
 * are absolute joint targets, so they also correct disturbances.
 */
export class WaypointExpert implements Expert {
  readonly #view: TabletopView;
  readonly #kinematics: InverseKinematics;
  readonly #waypoints: readonly Waypoint[];
  readonly #seconds: number;
  #at = 0;
  #waited = 0;
  #patience = 0;
  #point: Point;
  #yaw: number;
  #angles: number[];

  /** @param seconds of one step */
  constructor(
    view: TabletopView,
    kinematics: InverseKinematics,
    waypoints: readonly Waypoint[],
    seconds: number,
  ) {
    this.#view = view;
    this.#kinematics = kinematics;
    this.#waypoints = waypoints;
    this.#seconds = seconds;
    this.#point = view.grasp();
    this.#angles = view.angles().slice(0, ARM_SIZE - 1);
    this.#yaw = view.handYaw();
  }

  act(): Float32Array {
    const waypoint = this.#waypoints[this.#at]!;
    const to = waypoint.to(this.#view);
    const yaw = waypoint.yaw(this.#view);
    this.#point = towards(this.#point, to, waypoint.speed * this.#seconds);
    this.#yaw += clamp(yaw - this.#yaw, TURNING * this.#seconds);
    const pose = { position: this.#point, rotation: pointingDown(this.#yaw) };
    this.#angles = this.#kinematics.solve(pose, this.#angles);
    if (distance(this.#point, to) < 1e-9 && Math.abs(yaw - this.#yaw) < 1e-9) this.#arrive(waypoint);
    const grip = toRadians(ARM_SIZE - 1, waypoint.grip);
    return Float32Array.from([...this.#angles, grip], (angle, joint) => toUnits(joint, angle));
  }

  #arrive(waypoint: Waypoint): void {
    const angles = this.#view.angles();
    const late = this.#angles.some((angle, joint) => Math.abs(angle - angles[joint]!) > ARRIVED);
    if (late && this.#patience++ < PATIENCE) return;
    if (this.#waited++ < (waypoint.wait ?? 0)) return;
    this.#waited = 0;
    this.#patience = 0;
    const last = this.#at === this.#waypoints.length - 1;
    if (waypoint.holds?.(this.#view) === false) this.#at = 0;
    else if (!last) this.#at++;
  }
}

function towards(from: Point, to: Point, step: number): Point {
  const far = distance(from, to);
  if (far <= step) return to;
  const share = step / far;
  return [
    from[0] + share * (to[0] - from[0]),
    from[1] + share * (to[1] - from[1]),
    from[2] + share * (to[2] - from[2]),
  ];
}

function clamp(value: number, limit: number): number {
  return Math.min(limit, Math.max(-limit, value));
}

/** Axes of a hand that points straight down, turned by `yaw` about the vertical. */
function pointingDown(yaw: number): number[] {
  const [sin, cos] = [Math.sin(yaw), Math.cos(yaw)];
  return [0, -sin, cos, 0, cos, sin, -1, 0, 0];
}

/** A segment of the hand's path; positions are looked up again at every step, because objects move. */
interface Waypoint {
  /** Target of the point between the jaws. */
  readonly to: (view: TabletopView) => Point;
  /** Turn of the hand about the vertical, radians; 0: the jaws open to the left and right. */
  readonly yaw: (view: TabletopView) => number;
  /** Opening of the gripper, 0 to 100. */
  readonly grip: number;
  /** Metres per second. */
  readonly speed: number;
  /** Steps to wait on arrival. Default 0. */
  readonly wait?: number;
  /** Checked at the end of the segment; if it fails, the path starts over. */
  readonly holds?: (view: TabletopView) => boolean;
}

const OPEN = 62;
const HOLD = 6;
const SHUT = 0;
const FAST = 0.34;
const SLOW = 0.18;
/** Height of the point between the jaws when they surround a cube on the table. */
const GRASP = CUBE + 0.003;
/** The jaws open to one side only: the hand descends this far beside the cube, so that the cube is in the middle of the opening. */
const BESIDE = 0.014;
/** The tips of the closed jaws are this far beside the hand's axis. */
const SHUT_TIP = -0.012;
/** Jaws side by side: a broad blade, with less than a cube between them. */
const BLADE = 10;
/** From the middle of the blade to the middle of a cube it touches. */
const TOUCH = CUBE + 0.011;

const above = ([x, y]: Point, z: number): Point => [x, y, z];
const azimuth = ([x, y]: Point): number => Math.atan2(y, x);
/** Moves a point along the line on which the jaws open. */
const sideways = ([x, y, z]: Point, yaw: number, by: number): Point => [
  x - by * Math.sin(yaw),
  y + by * Math.cos(yaw),
  z,
];

/** Moves to the green cube, grips it, and lifts it to `height`. */
function pick(random: RandomGenerator, height: number): Waypoint[] {
  const yaw = (view: TabletopView) => view.yaw('green_cube');
  const slip = random.uniform(-0.003, 0.003);
  const beside = (z: number) => (view: TabletopView) =>
    sideways(above(view.cube('green_cube'), z), yaw(view), slip - BESIDE);
  let start: Point | undefined;
  let turn = 0;
  // Once the jaws touch it, the cube is no longer a reliable target.
  const settled = (z: number) => (view: TabletopView) => {
    start ??= above(view.cube('green_cube'), GRASP);
    return above(start, z);
  };
  const kept = () => turn;
  return [
    {
      to: beside(0.065 + random.uniform(0, 0.015)),
      yaw: (view) => {
        start = undefined;
        turn = yaw(view);
        return turn;
      },
      grip: OPEN,
      speed: FAST,
    },
    { to: beside(GRASP), yaw: kept, grip: OPEN, speed: SLOW, wait: 1 },
    { to: settled(GRASP), yaw: kept, grip: HOLD, speed: SLOW, wait: 5 },
    {
      to: settled(height),
      yaw: kept,
      grip: HOLD,
      speed: FAST,
      holds: (view) => distance(view.cube('green_cube'), view.grasp()) < 0.025,
    },
  ];
}

/** Where the hand must be to put the cube it holds at `place`. */
function withCube(view: TabletopView, place: Point): Point {
  const cube = view.cube('green_cube');
  const hand = view.grasp();
  return [place[0] + hand[0] - cube[0], place[1] + hand[1] - cube[1], place[2]];
}

function intoBin(random: RandomGenerator, bin: Fixture): Waypoint[] {
  const x = random.uniform(-0.012, 0.012);
  const y = random.uniform(-0.012, 0.012);
  const to = (z: number) => (view: TabletopView) => {
    const place = view.fixture(bin);
    return [place[0] + x, place[1] + y, z] as const;
  };
  const yaw = (view: TabletopView) => azimuth(view.fixture(bin));
  const inHand = (view: TabletopView) => distance(view.cube('green_cube'), view.grasp()) < 0.025;
  return [
    ...pick(random, 0.09),
    { to: to(0.095), yaw, grip: HOLD, speed: FAST, holds: inHand },
    { to: to(0.055), yaw, grip: HOLD, speed: SLOW },
    { to: to(0.055), yaw, grip: OPEN, speed: SLOW, wait: 3 },
    { to: to(0.12), yaw, grip: OPEN, speed: FAST, wait: 10 },
  ];
}

function push(random: RandomGenerator, side: 1 | -1): Waypoint[] {
  const yaw = () => Math.PI / 2;
  const gap = TOUCH + 0.012 + random.uniform(0, 0.008);
  const behind = (by: number, z: number) => (view: TabletopView) => {
    const [x, y] = view.cube('green_cube');
    return [x, y - side * by, z] as const;
  };
  const across = (view: TabletopView): Point => {
    const [x] = view.cube('green_cube');
    return [x, side * (ZONE.from + 0.02 - TOUCH), GRASP];
  };
  return [
    { to: behind(gap, 0.065), yaw, grip: BLADE, speed: FAST },
    { to: behind(gap, GRASP), yaw, grip: BLADE, speed: SLOW },
    { to: across, yaw, grip: BLADE, speed: SLOW, wait: 10, holds: () => false },
  ];
}

function stack(random: RandomGenerator): Waypoint[] {
  const over = (z: number) => (view: TabletopView) => withCube(view, above(view.cube('yellow_cube'), z));
  const yaw = (view: TabletopView) => view.yaw('yellow_cube');
  const lowered = 2 * CUBE + GRASP + 0.002;
  let place: Point | undefined;
  let turn = 0;
  // Remembered from before letting go: afterwards the cube no longer tells where the hand is.
  const stay = (z: number) => (view: TabletopView) => {
    place ??= view.grasp();
    return above(place, z);
  };
  return [
    ...pick(random, 0.09),
    {
      to: over(0.09),
      yaw: (view) => {
        place = undefined;
        turn = yaw(view);
        return turn;
      },
      grip: HOLD,
      speed: FAST,
      wait: 3,
      holds: (view) => distance(view.cube('green_cube'), view.grasp()) < 0.025,
    },
    { to: over(lowered), yaw: () => turn, grip: HOLD, speed: 0.1, wait: 4 },
    { to: stay(lowered), yaw: () => turn, grip: 45, speed: SLOW, wait: 5 },
    { to: stay(lowered + 0.06), yaw: () => turn, grip: 45, speed: SLOW, wait: 10, holds: () => false },
  ];
}

function press(random: RandomGenerator): Waypoint[] {
  const yaw = (view: TabletopView) => azimuth(view.fixture('button'));
  const over = (z: number) => (view: TabletopView) =>
    sideways(above(view.fixture('button'), z), yaw(view), -SHUT_TIP);
  const down = BUTTON_HEIGHT - 0.004;
  return [
    { to: over(0.07 + random.uniform(0, 0.015)), yaw, grip: SHUT, speed: FAST },
    { to: over(down), yaw, grip: SHUT, speed: SLOW, wait: 10, holds: () => false },
  ];
}

/** The expert's path through a task, with small random variations. */
export function waypoints(task: TabletopTask, random: RandomGenerator): Waypoint[] {
  switch (task) {
    case 'place-in-red-bin':
      return intoBin(random, 'red_bin');
    case 'place-in-blue-bin':
      return intoBin(random, 'blue_bin');
    case 'push-left':
      return push(random, 1);
    case 'push-right':
      return push(random, -1);
    case 'lift':
      return pick(random, 0.1);
    case 'stack':
      return stack(random);
    case 'press-button':
      return press(random);
  }
}
