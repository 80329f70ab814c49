import { INSTRUCTIONS, TABLETOP_TASKS, type TabletopTask } from '../names.js';
import type { SceneKind } from './layout.js';
import { BIN, CUBE, ZONE } from './scene.js';
import { distance, type Fixture, type TabletopView } from './view.js';

/** A task of the tabletop. */
export interface TaskDefinition {
  readonly instruction: string;
  readonly scene: SceneKind;
  /** Seconds. */
  readonly timeLimit: number;
  /** Whether it is done, judged by the state alone. */
  readonly done: (view: TabletopView) => boolean;
}

/** From here on the cube counts as let go: the place between the jaws is farther from its middle, metres. */
const RELEASED = 0.03;
/** How far a pressed button's cap has gone down, metres. */
const PRESSED = 0.005;
const LIFTED = 0.07;

/** The cube lies in the bin and the hand has let go. */
function inBin(view: TabletopView, bin: Fixture): boolean {
  const cube = view.cube('green_cube');
  const [x, y, z] = view.fixture(bin);
  const inside = Math.abs(cube[0] - x) < BIN && Math.abs(cube[1] - y) < BIN;
  return inside && Math.abs(cube[2] - z) < 2 * CUBE && distance(view.grasp(), cube) > RELEASED;
}

/** The cube lies on the strip, on the table. */
function inZone(view: TabletopView, side: 1 | -1): boolean {
  const [, y, z] = view.cube('green_cube');
  const onTable = Math.abs(z - CUBE) < 0.3 * CUBE;
  return view.fixture('zones')[2] === 0 && side * y > ZONE.from + CUBE / 2 && onTable;
}

/** The cube is up, between the jaws. */
function lifted(view: TabletopView): boolean {
  const cube = view.cube('green_cube');
  return cube[2] > LIFTED && distance(view.grasp(), cube) < RELEASED;
}

/** The green cube lies still on the yellow one and the hand has let go. */
function stacked(view: TabletopView): boolean {
  const green = view.cube('green_cube');
  const yellow = view.cube('yellow_cube');
  const over = Math.hypot(green[0] - yellow[0], green[1] - yellow[1]) < CUBE;
  const on = Math.abs(green[2] - yellow[2] - 2 * CUBE) < 0.003 && Math.abs(yellow[2] - CUBE) < 0.003;
  return over && on && view.speed('green_cube') < 0.02 && distance(view.grasp(), green) > RELEASED;
}

const definition = (
  task: TabletopTask,
  scene: SceneKind,
  timeLimit: number,
  done: (view: TabletopView) => boolean,
): TaskDefinition => ({ instruction: INSTRUCTIONS[task], scene, timeLimit, done });

/** Every task: which scene it is asked in, how long it may take, and when it is done. */
export const TASKS: Readonly<Record<TabletopTask, TaskDefinition>> = {
  'place-in-red-bin': definition('place-in-red-bin', 'bins', 8, (view) => inBin(view, 'red_bin')),
  'place-in-blue-bin': definition('place-in-blue-bin', 'bins', 8, (view) => inBin(view, 'blue_bin')),
  'push-left': definition('push-left', 'open', 6, (view) => inZone(view, 1)),
  'push-right': definition('push-right', 'open', 6, (view) => inZone(view, -1)),
  lift: definition('lift', 'open', 6, lifted),
  stack: definition('stack', 'open', 8, stacked),
  'press-button': definition('press-button', 'open', 6, (view) => view.pressed > PRESSED),
};

/** Names of all tasks that count as done now. */
export function achievedTasks(view: TabletopView): TabletopTask[] {
  return TABLETOP_TASKS.filter((task) => TASKS[task].done(view));
}
