import { ARM_JOINTS, toRadians } from '../tabletop/arm.js';
import { CUBE, SHELF } from '../tabletop/scene.js';
import { CUBES, type TabletopView } from '../tabletop/view.js';

/** A frame's numbers. */
export interface RecordedFrame {
  /** `observation.state`. */
  state: readonly number[];
  /** `observation.environment_state` by the names of its numbers; what is not in it was not recorded. */
  things: Readonly<Record<string, number>>;
}

/** Where put away things are: apart, or a cube would lie in a bin there. */
const AWAY: Readonly<Record<string, readonly [number, number]>> = {
  green_cube: [0, 0],
  yellow_cube: [0.1, 0],
  red_bin: [0.15, 0.15],
  blue_bin: [0.15, -0.15],
  button: [0, 0.15],
};

/** Puts everything where a recorded frame says, the inverse of `environmentState`; what it does not name goes out of sight. */
export function placeRecorded(view: TabletopView, { state, things }: RecordedFrame): void {
  view.setAngles(ARM_JOINTS.map((_, joint) => toRadians(joint, state[joint]!)));
  const value = (name: string) => things[name] ?? 0;
  for (const cube of CUBES) {
    const [cos, sin] = [value(`${cube}_cos`), value(`${cube}_sin`)];
    const here = cos !== 0 || sin !== 0;
    const place = [value(`${cube}_x`), value(`${cube}_y`), value(`${cube}_z`)] as const;
    view.placeCube(cube, here ? place : [...AWAY[cube]!, SHELF + CUBE], here ? Math.atan2(sin, cos) : 0);
  }
  const isHere = (name: string) => value(`${name}_x`) !== 0 || value(`${name}_y`) !== 0;
  for (const name of ['red_bin', 'blue_bin', 'button'] as const) {
    const place = [value(`${name}_x`), value(`${name}_y`), 0] as const;
    view.placeFixture(name, isHere(name) ? place : [...AWAY[name]!, SHELF]);
  }
  // The strips belong to the scene with the button.
  view.placeFixture('zones', [0, 0, isHere('button') ? 0 : SHELF]);
  view.pressed = value('button_pressed');
}
