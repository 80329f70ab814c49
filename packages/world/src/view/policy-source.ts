import { scope } from '@craft-ft/torch';
import { checkPolicyFits, specForPolicy } from '../evaluate/match-policy.js';
import { observationBatch } from '../evaluate/observe.js';
import type { Actor } from '../evaluate/rollout.js';
import type { TabletopCamera } from '../names.js';
import { TabletopEnvironment } from '../tabletop/environment.js';
import { describe } from '../workers/host.js';
import { runEpisode } from './run-episode.js';
import type { ViewSource } from './view-episode.js';

/** Options of {@link policySource}. */
export interface PolicySourceOptions extends Actor {
  /** For people. */
  name: string;
  /** Environment key to policy key. Default none. */
  renameMap?: Readonly<Record<string, string>>;
}

/**
 * A policy's rollouts, from the same starts as in `evaluatePolicy`.
 *
 * Its `load` throws CraftError `POLICY_ENVIRONMENT` where policy and environment do not fit, `ENV_ACTION`.
 */
export function policySource({ policy, processors, name, renameMap = {} }: PolicySourceOptions): ViewSource {
  return {
    name: 'policy',
    label: `Policy ${name}`,
    episodes: null,
    load: async ({ task, seed }, signal) => {
      const { cameras, ...spec } = specForPolicy(policy.config, { task }, renameMap);
      const options = { ...spec, task, cameras: cameras as readonly TabletopCamera[] };
      const environment = await TabletopEnvironment.create(options);
      try {
        const description = describe(environment);
        checkPolicyFits(policy.config, description, renameMap);
        const texts = { task: [environment.instruction] };
        const begin = () => {
          policy.reset();
          return (observation: Parameters<typeof observationBatch>[0][number]) =>
            scope(() => {
              const batch = processors.preprocess(
                observationBatch([observation], description, renameMap),
                texts,
              );
              const action = processors.postprocess(policy.selectAction(batch));
              return action.to('float32').toTypedArray() as Float32Array;
            });
        };
        return await runEpisode(environment, seed, begin, signal);
      } finally {
        environment.dispose();
      }
    },
    close: async () => {},
  };
}
