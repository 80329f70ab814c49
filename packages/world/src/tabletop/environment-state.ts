import { CUBES, type Point, type TabletopView } from './view.js';

/**
 * What `observation.environment_state` holds: metres, and for the cubes and the hand the turn about the vertical (the hand's is right while
 * it points down). All zero for what is not on the table. The hand is where the jaws meet: with it a policy need not learn the arm's
 * kinematics to know how far from a thing it is.
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

/** Where things are, [22]; see {@link ENVIRONMENT_STATE_NAMES}. */
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
