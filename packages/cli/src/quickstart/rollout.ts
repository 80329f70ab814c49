import {
  loadPolicy,
  loadProcessors,
  type Policy,
  type PolicyProcessors,
  readPolicyConfig,
  resolveDevice,
} from '@craft-ft/lerobot';
import { fromTypedArray, scope } from '@craft-ft/torch';
import { SortingWorld, type Task, TIME_LIMIT } from './sorting-world.js';

/** A trained policy, ready to act. */
export interface Actor {
  policy: Policy;
  processors: PolicyProcessors;
}

/** Loads a policy from a run, checkpoint or model folder. */
export function loadActor(path: string): Actor {
  const { dir, config } = readPolicyConfig(path);
  const device = resolveDevice(config.device);
  const policy = loadPolicy(dir, config).to({ device });
  return { policy: policy.eval(), processors: loadProcessors(dir, config, { device }) };
}

/** Share of episodes in which the policy does the task; the starts are the same for every policy. */
export function successRate(
  { policy, processors }: Actor,
  task: Task,
  episodes: number,
  seed: number,
): number {
  let successes = 0;
  for (let episode = 0; episode < episodes; episode++) {
    const world = new SortingWorld(task, seed + episode);
    policy.reset();
    for (let step = 0; step < TIME_LIMIT && !world.success; step++) {
      const action = scope(() => {
        const { state, environment } = world.observe();
        const observation = processors.preprocess({
          'observation.state': fromTypedArray(state, [1, 3]),
          'observation.environment_state': fromTypedArray(environment, [1, 4]),
        });
        return processors.postprocess(policy.selectAction(observation)).toTypedArray() as Float32Array;
      });
      world.step(action);
    }
    if (world.success) successes++;
  }
  return successes / episodes;
}
