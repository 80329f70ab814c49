import { describe, expect, it } from 'vitest';
import { thrown } from '../../../datasets/test/thrown.js';
import { RayCamera } from './camera.js';
import { Simulation } from './simulation.js';

const SCENE = `<mujoco><worldbody>
  <camera name="above" pos="0 0 1" xyaxes="1 0 0 0 1 0" fovy="90"/>
  <geom type="plane" size="5 5 0.1" rgba="1 1 1 1"/>
  <geom type="box" pos="0.5 0.5 0" size="0.2 0.2 0.01" rgba="1 0 0 1"/>
  <geom type="box" pos="-0.5 -0.5 0.3" size="0.1 0.1 0.1" rgba="0 0 0 0"/>
</worldbody></mujoco>`;

describe('RayCamera', () => {
  it('shows colours where things are, and nothing of invisible ones', async () => {
    using simulation = await Simulation.create(SCENE);
    simulation.forward();
    const image = new RayCamera(simulation, 'above', { width: 20, height: 10, shadows: false }).render();
    expect(image.length).toBe(20 * 10 * 3);
    const at = (row: number, column: number) => [...image.subarray(3 * (20 * row + column)).subarray(0, 3)];
    // Ten rows over two metres; twenty columns over four: red at the upper right of the middle.
    const [red, green] = at(2, 12) as [number, number];
    expect(red).toBeGreaterThan(180);
    expect(green).toBe(0);
    const [r, g, b] = at(7, 7) as [number, number, number];
    expect(r).toBe(g);
    expect(g).toBe(b);
    expect(r).toBeGreaterThan(100);
  });

  it('throws shadows', async () => {
    const roof = SCENE.replace(
      'pos="-0.5 -0.5 0.3" size="0.1 0.1 0.1" rgba="0 0 0 0"',
      'pos="0 0 1.2" size="1 1 0.01"',
    );
    const mean = async (shadows: boolean) => {
      using simulation = await Simulation.create(roof);
      simulation.forward();
      const image = new RayCamera(simulation, 'above', { width: 8, height: 8, shadows }).render();
      return image.reduce((a, b) => a + b) / image.length;
    };
    expect(await mean(true)).toBeLessThan(0.8 * (await mean(false)));
  });

  it('refuses a camera that there is not', async () => {
    using simulation = await Simulation.create(SCENE);
    expect(thrown(() => new RayCamera(simulation, 'below'))).toMatchObject({ code: 'SCENE_NAME' });
  });
});
