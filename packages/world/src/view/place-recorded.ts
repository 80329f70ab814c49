import { ARM_JOINTS, toRadians } from '../tabletop/arm.js';
import { CUBE, SHELF } from '../tabletop/scene.js';
import { CUBES, type TabletopView } from '../tabletop/view.js';

/** A frame's numbers. */
export interface RecordedFrame {
  /** `observation.state`. */
  state: readonly number[];
  /** `observation.environment_state`; null: not recorded. */
  things: readonly number[] | null;
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
  const values = [...(things ?? [])];
  for (const cube of CUBES) {
    const [x = 0, y = 0, z = 0, cos = 0, sin = 0] = values.splice(0, 5);
    const here = cos !== 0 || sin !== 0;
    view.placeCube(cube, here ? [x, y, z] : [...AWAY[cube]!, SHELF + CUBE], here ? Math.atan2(sin, cos) : 0);
  }
  let open = false;
  for (const fixture of ['red_bin', 'blue_bin', 'button'] as const) {
    const [x = 0, y = 0] = values.splice(0, 2);
    const here = x !== 0 || y !== 0;
    view.placeFixture(fixture, here ? [x, y, 0] : [...AWAY[fixture]!, SHELF]);
    if (fixture === 'button') open = here;
  }
  // The strips belong to the scene with the button.
  view.placeFixture('zones', [0, 0, open ? 0 : SHELF]);
  view.pressed = values[0] ?? 0;
}
