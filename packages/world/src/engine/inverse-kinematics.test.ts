import { expect, it } from 'vitest';
import { ARM_JOINTS } from '../tabletop/arm.js';
import { TABLETOP_XML } from '../tabletop/scene.js';
import { InverseKinematics } from './inverse-kinematics.js';
import { Simulation } from './simulation.js';

it('InverseKinematics: reaches places over the table with the hand straight down, within a millimetre', async () => {
  using simulation = await Simulation.create(TABLETOP_XML);
  const joints = ARM_JOINTS.slice(0, 5).map(({ name }) => name);
  const kinematics = new InverseKinematics(simulation, { joints, site: 'grasp', iterations: 60 });
  const site = simulation.id('site', 'grasp');
  for (const [x, y] of [
    [0.16, 0],
    [0.2, 0.08],
    [0.18, -0.1],
  ] as const) {
    const rotation = [0, 0, 1, 0, 1, 0, -1, 0, 0];
    const angles = kinematics.solve({ position: [x, y, 0.03], rotation }, [0, 0, 0, 1.4, 0]);
    angles.forEach((angle, joint) => {
      simulation.data.qpos[simulation.model.jnt_qposadr[simulation.id('joint', joints[joint]!)]] = angle;
      const [low, high] = ARM_JOINTS[joint]!.range;
      expect(angle).toBeGreaterThanOrEqual(low);
      expect(angle).toBeLessThanOrEqual(high);
    });
    simulation.forward();
    const found = [...(simulation.data.site_xpos as Float64Array).slice(3 * site, 3 * site + 3)];
    expect(Math.hypot(found[0]! - x, found[1]! - y, found[2]! - 0.03)).toBeLessThan(1e-3);
    // The hand's x axis points down.
    expect(simulation.data.site_xmat[9 * site + 6]).toBeLessThan(-0.999);
  }
});
