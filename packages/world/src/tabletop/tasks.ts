import type { RandomGenerator } from '@craft-ft/datasets/random';
import { INSTRUCTIONS, TABLETOP_TASKS, type TabletopTask } from '../names.js';
import { ARM_JOINTS, toRadians } from './arm.js';
import { BIN, CUBE, SHELF, ZONE } from './scene.js';
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

/** The cube counts as released when the point between the jaws is farther than this from its middle, metres. */
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

/** Names of all tasks that are done now. */
export function achievedTasks(view: TabletopView): TabletopTask[] {
  return TABLETOP_TASKS.filter((task) => TASKS[task].done(view));
}

/** The two kinds of scene: the cube between two bins, or the cube among another cube and a button. */
type SceneKind = 'bins' | 'open';

/** The arm's pose at the start, in the units of observations: the half open hand points down, 8 cm above the table. */
const HOME = [0, -5, 4, 91, 0, 50];
const HOME_SPREAD = 2;
/** Largest rotation of a cube, radians. */
const TURN = 0.35;

interface Place {
  x: number;
  y: number;
}

/** Places the arm and all objects for a new episode, whichever task is requested. */
export function layOut(view: TabletopView, kind: SceneKind, random: RandomGenerator): void {
  const home = HOME.map((value) => value + random.uniform(-HOME_SPREAD, HOME_SPREAD));
  view.setAngles(ARM_JOINTS.map((_, joint) => toRadians(joint, home[joint]!)));
  if (kind === 'bins') layOutBins(view, random);
  else layOutOpen(view, random);
}

function layOutBins(view: TabletopView, random: RandomGenerator): void {
  const green = { x: random.uniform(0.15, 0.22), y: random.uniform(-0.05, 0.05) };
  view.placeCube('green_cube', [green.x, green.y, CUBE], random.uniform(-TURN, TURN));
  const left = random.coin() ? 'red_bin' : 'blue_bin';
  for (const name of ['red_bin', 'blue_bin'] as const) {
    const side = name === left ? 1 : -1;
    const angle = side * random.uniform(0.8, 1.13);
    const reach = random.uniform(0.195, 0.225);
    view.placeFixture(name, [reach * Math.cos(angle), reach * Math.sin(angle), 0]);
  }
  view.placeCube('yellow_cube', [0, 0, SHELF + CUBE], 0);
  view.placeFixture('button', [0.1, 0.1, SHELF]);
  view.placeFixture('zones', [0, 0, SHELF]);
}

/** The other objects leave the green cube's path free on both sides, and leave the hand room between them. */
function layOutOpen(view: TabletopView, random: RandomGenerator): void {
  const green = { x: random.uniform(0.15, 0.215), y: random.uniform(-0.05, 0.05) };
  const anywhere = (lane: number): Place => {
    for (;;) {
      const place = { x: random.uniform(0.125, 0.255), y: random.uniform(-0.12, 0.12) };
      const reach = Math.hypot(place.x, place.y);
      if (Math.abs(place.x - green.x) >= lane && reach >= 0.14 && reach <= 0.26) return place;
    }
  };
  let yellow = anywhere(0.047);
  let button = anywhere(0.057);
  while (Math.hypot(yellow.x - button.x, yellow.y - button.y) < 0.075) {
    yellow = anywhere(0.047);
    button = anywhere(0.057);
  }
  view.placeCube('green_cube', [green.x, green.y, CUBE], random.uniform(-TURN, TURN));
  view.placeCube('yellow_cube', [yellow.x, yellow.y, CUBE], random.uniform(-TURN, TURN));
  view.placeFixture('button', [button.x, button.y, 0]);
  view.placeFixture('zones', [0, 0, 0]);
  view.placeFixture('red_bin', [0.15, 0.15, SHELF]);
  view.placeFixture('blue_bin', [0.15, -0.15, SHELF]);
}
