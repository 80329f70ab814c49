import type { InverseKinematics } from '../engine/inverse-kinematics.js';
import type { Expert } from '../environment.js';
import { ARM_SIZE, toRadians, toUnits } from './arm.js';
import { distance, type Point, type TabletopView } from './view.js';
import type { Waypoint } from './waypoints.js';

/**
 * The hand counts as arrived when every joint is this near to where it was sent, radians: places that the arm cannot quite reach are no
 * reason to wait.
 */
const ARRIVED = 0.04;
/** Or after this many steps of waiting for it. */
const PATIENCE = 6;
/** Radians per second. */
const TURNING = 3;

/**
 * Follows waypoints: a point runs ahead along straight lines, inverse kinematics turn it into joint angles, and the servos follow.
 * Actions are absolute joint targets, so they also correct what pushes the arm off its way.
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
