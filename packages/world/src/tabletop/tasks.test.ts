import { expect, test } from 'vitest';
import { Simulation } from '../engine/simulation.js';
import { CUBE, TABLETOP_XML } from './scene.js';
import { achievedTasks } from './tasks.js';
import { TabletopView } from './view.js';

test('a cube is pushed aside while it lies on the table: not when it is held above it or has fallen off', async () => {
  using simulation = await Simulation.create(TABLETOP_XML);
  const view = new TabletopView(simulation);
  view.placeFixture('zones', [0, 0, 0]);
  const achieved = (y: number, z: number) => {
    view.placeCube('green_cube', [0.2, y, z], 0);
    simulation.forward();
    return achievedTasks(view);
  };
  expect([achieved(0.1, CUBE), achieved(-0.1, CUBE), achieved(0, CUBE)]).toEqual([
    ['push-left'],
    ['push-right'],
    [],
  ]);
  for (const z of [0.05, -0.03, -0.4 + CUBE, -3]) {
    expect([achieved(0.5, z), achieved(-0.5, z)]).toEqual([[], []]);
  }
});
