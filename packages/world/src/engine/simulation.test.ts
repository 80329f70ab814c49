import { describe, expect, it } from 'vitest';
import { thrown } from '../../../datasets/test/thrown.js';
import { TABLETOP_XML } from '../tabletop/scene.js';
import { RayCamera } from './camera.js';
import { Simulation } from './simulation.js';

const BALL =
  '<mujoco><worldbody><body name="ball" pos="0 0 1"><freejoint name="ball"/><geom size="0.1"/></body></worldbody></mujoco>';

const BALL_WITH_MOTOR = BALL.replace('</mujoco>', '<actuator><motor joint="ball"/></actuator></mujoco>');

describe('Simulation', () => {
  it('names the scene and the place of a mistake in it', async () => {
    await expect(
      Simulation.create('<mujoco><worldbody><geom typo="1"/></worldbody></mujoco>', 'my.xml'),
    ).rejects.toThrow(
      /^my\.xml: the scene does not compile: XML Error: .*unrecognized attribute: 'typo'.*line 1/,
    );
    await expect(Simulation.create('not XML')).rejects.toMatchObject({ code: 'MJCF_INVALID' });
    await expect(Simulation.create('')).rejects.toMatchObject({ code: 'MJCF_INVALID' });
  });

  it('lets things fall, and says when the physics diverges', async () => {
    using simulation = await Simulation.create(BALL);
    simulation.step(100);
    const time = 100 * simulation.timestep;
    expect(simulation.data.qpos[2]).toBeCloseTo(1 - (9.81 * time * time) / 2, 1);
    simulation.data.qvel[2] = 1e12;
    expect(thrown(() => simulation.step(5))).toMatchObject({ code: 'SIMULATION_UNSTABLE' });
    expect(thrown(() => simulation.id('body', 'cube'))).toMatchObject({
      code: 'SCENE_NAME',
      message: 'the scene: there is no body named "cube"',
    });
  });

  it.each([
    ['qpos', Number.NaN],
    ['qvel', 1e12],
    ['qfrc_applied', 1e300],
    ['ctrl', Number.NaN],
  ] as const)(
    'says so when %s is %d in the very first step, each time, and not afterwards',
    async (name, value) => {
      using simulation = await Simulation.create(BALL_WITH_MOTOR);
      for (const steps of [1, 1, 5]) {
        simulation.resetState();
        simulation.data[name][0] = value;
        expect(thrown(() => simulation.step(steps))).toMatchObject({ code: 'SIMULATION_UNSTABLE' });
      }
      simulation.data[name][0] = 0;
      simulation.step(3);
      simulation.resetState();
      simulation.step(3);
    },
  );

  it('keeps its memory over thousands of resets and many scenes', async () => {
    const use = async () => {
      using simulation = await Simulation.create(TABLETOP_XML);
      const camera = new RayCamera(simulation, 'top', { width: 8, height: 8 });
      for (let i = 0; i < 200; i++) {
        simulation.resetState();
        simulation.step(1);
        camera.render();
      }
      return simulation.data.qpos.buffer.byteLength as number;
    };
    await use();
    const before = await use();
    for (let i = 0; i < 12; i++) await use();
    expect(await use()).toBe(before);
  });
});
