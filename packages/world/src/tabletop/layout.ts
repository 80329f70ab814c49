import type { Random } from '../random.js';
import { ARM_JOINTS, toRadians } from './arm.js';
import { CUBE, SHELF } from './scene.js';
import type { TabletopView } from './view.js';

/** The two kinds of scene: the cube between two bins, or the cube among another cube and a button. */
export type SceneKind = 'bins' | 'open';

/** The arm's pose at the start, in the units of observations: the half open hand points down, 8 cm above the table. */
const HOME = [0, -5, 4, 91, 0, 50];
const HOME_SPREAD = 2;
/** Largest turn of a cube, radians. */
const TURN = 0.35;

interface Place {
  x: number;
  y: number;
}

/** Places the arm and everything on the table for a new episode. Which task is asked for makes no difference to it. */
export function layOut(view: TabletopView, kind: SceneKind, random: Random): void {
  const home = HOME.map((value) => value + random.uniform(-HOME_SPREAD, HOME_SPREAD));
  view.setAngles(ARM_JOINTS.map((_, joint) => toRadians(joint, home[joint]!)));
  if (kind === 'bins') layOutBins(view, random);
  else layOutOpen(view, random);
}

function layOutBins(view: TabletopView, random: Random): void {
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

/** The other things leave the green cube's way to both sides free, and each other room for the hand. */
function layOutOpen(view: TabletopView, random: Random): void {
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
