import { LeRobotDatasetWriter } from '@craft-ft/lerobot';
import { randomNumbers, SortingWorld, TASKS, type Task, TIME_LIMIT } from './sorting-world.js';

/** Frames per second of the recorded data. */
export const FPS = 10;

/** The expert's hand is not steady: states off its ideal path are in the data too, with the correction that follows. */
const NOISE = 0.4;

/**
 * Records the expert at one task as a LeRobot v3.0 dataset.
 *
 * @returns frames written
 */
export async function recordDataset(
  root: string,
  task: Task,
  episodes: number,
  seed: number,
): Promise<number> {
  const writer = LeRobotDatasetWriter.create({
    root,
    fps: FPS,
    robotType: 'planar_gripper',
    features: {
      'observation.state': { dtype: 'float32', shape: [3], names: ['x', 'y', 'opening'] },
      'observation.environment_state': {
        dtype: 'float32',
        shape: [4],
        names: ['object_x', 'object_y', 'task_red', 'task_blue'],
      },
      action: { dtype: 'float32', shape: [3], names: ['dx', 'dy', 'grip'] },
    },
  });
  let frames = 0;
  for (let episode = 0; episode < episodes; episode++) {
    const world = new SortingWorld(task, seed + episode);
    const random = randomNumbers(seed + 7919 * (episode + 1));
    for (let step = 0; step < TIME_LIMIT && !world.success; step++) {
      const { state, environment } = world.observe();
      const action = world.expert();
      writer.addFrame({
        'observation.state': state,
        'observation.environment_state': environment,
        action,
        task: TASKS[task],
      });
      const shaken = Float32Array.from(action, (value, i) =>
        i < 2 ? value + NOISE * (2 * random() - 1) : value,
      );
      world.step(shaken);
      frames++;
    }
    await writer.saveEpisode();
  }
  writer.finalize();
  return frames;
}
