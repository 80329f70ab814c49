import { join } from 'node:path';
import { manualSeed } from '@craft-ft/torch';
import { expect, test } from 'vitest';
import { makeProcessors } from '../../policies/src/policy-processors.js';
import { makePolicy } from '../../policies/src/pretrained.js';
import { statTensors } from '../../policies/src/processors/stats.js';
import { makeTask, runConfig, testFolder } from '../test/training.js';
import { evaluateLoss } from './evaluate-loss.js';
import { openPolicyDataset, openTaskData } from './open-data.js';

test('the loss of a dataset is the same whatever the batch size, with episodes that end inside chunks', async () => {
  const root = makeTask(join(testFolder(), 'data'), { lengths: [3, 17, 2, 29, 5] });
  const features = {
    input_features: { 'observation.state': { type: 'STATE', shape: [3] } },
    output_features: { action: { type: 'ACTION', shape: [2] } },
  };
  const config = runConfig(root, join(testFolder(), 'run'));
  const policyConfig = { ...config.policy, ...features } as typeof config.policy;
  manualSeed(1);
  const policy = makePolicy(policyConfig);
  const { stats } = await openTaskData({ ...config, policy: policyConfig });
  const processors = makeProcessors(policyConfig, statTensors(stats));
  const choice = { repo_id: 'test/data', root, episodes: null, exclude_episodes: null };
  const dataset = await openPolicyDataset({ choice, policy: policyConfig, renameMap: {}, toleranceS: 1e-4 });
  const loss = async (size: number) => (await evaluateLoss(policy, processors, dataset, size)).loss;
  const losses = [await loss(1), await loss(7), await loss(64)];
  expect(losses[0]).toBeGreaterThan(0);
  for (const each of losses) expect(Math.abs(each - losses[0]!)).toBeLessThan(1e-6);
  expect(policy.training).toBe(true);
});
