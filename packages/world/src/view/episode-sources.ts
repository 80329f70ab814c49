import { setImmediate } from 'node:timers/promises';
import { scope } from '@craft-ft/torch';
import type { Observation } from '../environment.js';
import { checkPolicyFits, specForPolicy } from '../evaluate/match-policy.js';
import type { Actor } from '../evaluate/rollout.js';
import { observationBatch } from '../evaluate/rollout.js';
import { TABLETOP_TASKS, type TabletopCamera, type TabletopTask } from '../names.js';
import { TabletopEnvironment } from '../tabletop/environment.js';
import { describe } from '../workers/host.js';
import { captureFrame, requireViewer, type ViewEpisode, type ViewSource } from './view-episode.js';

/** The scripted expert, for any task and any start. */
export function expertSource(): ViewSource {
  return {
    name: 'expert',
    label: 'Scripted expert',
    episodes: null,
    load: async ({ task, seed }, signal) => {
      const environment = await TabletopEnvironment.create({ task });
      try {
        const begin = () => {
          const expert = environment.expert({ seed });
          return () => expert.act();
        };
        return await runEpisode(environment, seed, begin, signal);
      } finally {
        environment.dispose();
      }
    },
    close: async () => {},
  };
}

/** Options of {@link policySource}. */
export interface PolicySourceOptions extends Actor {
  /** Display name. */
  name: string;
  /** Environment key to policy key. Default none. */
  renameMap?: Readonly<Record<string, string>>;
}

/**
 * A policy's rollouts, from the same starts as in `evaluatePolicy`.
 *
 * @throws CraftError `POLICY_ENVIRONMENT` if policy and environment do not fit; its `load` throws `ENV_ACTION`
 */
export async function policySource(options: PolicySourceOptions): Promise<ViewSource> {
  const { policy, processors, name, renameMap = {} } = options;
  const open = (task: TabletopTask): Promise<TabletopEnvironment> => {
    const { cameras, ...spec } = specForPolicy(policy.config, { task }, renameMap);
    return TabletopEnvironment.create({ ...spec, task, cameras: cameras as readonly TabletopCamera[] });
  };
  // All tasks have the same features.
  const environment = await open(TABLETOP_TASKS[0]);
  const description = describe(environment);
  environment.dispose();
  checkPolicyFits(policy.config, description, renameMap);

  const act = (observation: Observation, instruction: string): Float32Array =>
    scope(() => {
      const batch = observationBatch([observation], description, renameMap);
      const prepared = processors.preprocess(batch, { task: [instruction] });
      const action = processors.postprocess(policy.selectAction(prepared));
      return action.to('float32').toTypedArray() as Float32Array;
    });
  return {
    name: 'policy',
    label: `Policy ${name}`,
    episodes: null,
    load: async ({ task, seed }, signal) => {
      const environment = await open(task);
      const begin = () => {
        policy.reset();
        return (observation: Observation) => act(observation, environment.instruction);
      };
      try {
        return await runEpisode(environment, seed, begin, signal);
      } finally {
        environment.dispose();
      }
    },
    close: async () => {},
  };
}

/** Runs an episode and keeps every frame. Other requests are answered in between. */
async function runEpisode(
  environment: TabletopEnvironment,
  seed: number,
  begin: () => (observation: Observation) => ArrayLike<number>,
  signal: AbortSignal,
): Promise<ViewEpisode> {
  const { simulation } = environment;
  let { observation } = environment.reset(seed);
  const act = begin();
  const mocap = Array.from(simulation.data.mocap_pos as Float64Array);
  const frames = [captureFrame(simulation)];
  for (;;) {
    const step = environment.step(act(observation));
    observation = step.observation;
    frames.push(captureFrame(simulation));
    if (step.terminated || step.truncated) {
      const { task, instruction, fps } = environment;
      const { success } = step.info;
      return { task, instruction, fps, success, mocap, frames, recorded: [], note: null };
    }
    await setImmediate();
    requireViewer(signal);
  }
}
