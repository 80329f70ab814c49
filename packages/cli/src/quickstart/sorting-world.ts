/**
 * @file A table seen from above, for the quickstart: a gripper that moves in the unit square, one object, a red and a blue bin.
 * It has no physics; it is just enough for a robot's data to be recorded, learned from and judged by success.
 */

export const TASKS = ['put the object into the red bin', 'put the object into the blue bin'] as const;

/** 0: red, 1: blue. */
export type Task = 0 | 1;

type Point = readonly [x: number, y: number];

const BINS: readonly Point[] = [
  [0.12, 0.88],
  [0.88, 0.88],
];
const REACH = 0.07;
const BIN_RADIUS = 0.12;
const MAX_STEP = 0.08;

/** The gripper opens or closes over three steps, holds below the one opening and lets go above the other. */
const GRIP_STEP = 0.34;
const HOLDS_BELOW = 0.5;
const LETS_GO_ABOVE = 0.9;

/** Steps after which an episode has failed; the expert needs about 25. */
export const TIME_LIMIT = 60;

/** What the robot knows, in the dataset's features. */
export interface Observation {
  /** Gripper x, y and opening (0 closed, 1 open): `[3]` */
  state: Float32Array;
  /** Object x, y, and which task is asked for, one-hot: `[4]` */
  environment: Float32Array;
}

/** A small generator of its own (mulberry32), so that a seed means the same start everywhere. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const distance = (a: Point, b: Point) => Math.hypot(a[0] - b[0], a[1] - b[1]);

/** One episode of the world. */
export class SortingWorld {
  #gripper: Point;
  #object: Point;
  #opening = 1;
  #holding = false;
  #done = false;

  /** @param seed decides where gripper and object start */
  constructor(
    readonly task: Task,
    seed: number,
  ) {
    const random = randomNumbers(seed);
    this.#gripper = [0.35 + 0.3 * random(), 0.05 + 0.1 * random()];
    this.#object = [0.25 + 0.5 * random(), 0.3 + 0.3 * random()];
  }

  /** The object lies in the bin that was asked for, and the gripper has let go. */
  get success(): boolean {
    return this.#done;
  }

  observe(): Observation {
    return {
      state: Float32Array.of(...this.#gripper, this.#opening),
      environment: Float32Array.of(...this.#object, this.task === 0 ? 1 : 0, this.task === 1 ? 1 : 0),
    };
  }

  /** @param action dx, dy in steps of at most 1 each (times 0.08), and grip: above 0.5 closed */
  step(action: ArrayLike<number>): void {
    const move = (value: number) => Math.max(-1, Math.min(1, value)) * MAX_STEP;
    const clamp = (value: number) => Math.max(0, Math.min(1, value));
    this.#gripper = [clamp(this.#gripper[0] + move(action[0])), clamp(this.#gripper[1] + move(action[1]))];
    this.#opening = clamp(this.#opening + (action[2] > 0.5 ? -GRIP_STEP : GRIP_STEP));
    if (!this.#holding) {
      this.#holding = this.#opening < HOLDS_BELOW && distance(this.#gripper, this.#object) < REACH;
    } else if (this.#opening > LETS_GO_ABOVE) {
      this.#holding = false;
      this.#done = distance(this.#object, BINS[this.task]) < BIN_RADIUS;
    }
    if (this.#holding) this.#object = this.#gripper;
  }

  /** What a person would do: go to the object, close, go to the bin, open. */
  expert(): Float32Array {
    const target = this.#holding ? BINS[this.task] : this.#object;
    const toward = (axis: 0 | 1) =>
      Math.max(-1, Math.min(1, (target[axis] - this.#gripper[axis]) / MAX_STEP));
    const near = distance(this.#gripper, target) < REACH / 2;
    const opened = this.#opening > HOLDS_BELOW && this.#holding;
    const grip = this.#holding ? !(near || opened) : near;
    return Float32Array.of(toward(0), toward(1), grip ? 1 : 0);
  }
}
