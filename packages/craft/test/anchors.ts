// Small teachers and datasets for tests of anchors.
import { mkdirSync } from 'node:fs';
import { LeRobotDataset, LeRobotDatasetMetadata } from '@craft-ft/datasets';
import {
  makePolicy,
  makeProcessors,
  type Policy,
  type PolicyConfig,
  type PolicyProcessors,
  parsePolicyConfig,
  savePolicy,
  statTensors,
  withDatasetFeatures,
} from '@craft-ft/policies';
import { manualSeed } from '@craft-ft/torch';
import { renamedFeatures } from '@craft-ft/training';
import { SMALL_ACT } from '../../policies/test/act-small.js';
import type { AnchorDataset } from '../src/anchors/index.js';

export interface Teacher {
  dir: string;
  policy: Policy;
  processors: PolicyProcessors;
}

/** An ACT that trains in a moment. */
export const TINY_ACT = {
  ...SMALL_ACT,
  n_encoder_layers: 2,
  pretrained_backbone_weights: null,
};

/** Makes a policy for a dataset, with random weights and that dataset's statistics, and saves it. */
export async function makeTeacher(
  dir: string,
  dataset: string,
  changes: object = TINY_ACT,
  seed = 1,
): Promise<Teacher> {
  manualSeed(seed);
  const metadata = await LeRobotDatasetMetadata.load(dataset);
  const given = parsePolicyConfig(changes, 'test');
  const config: PolicyConfig = withDatasetFeatures(given, renamedFeatures(metadata, {}), dataset);
  const { stats } = await LeRobotDataset.open({ root: dataset });
  const processors = makeProcessors(config, statTensors(stats));
  const policy = makePolicy(config);
  mkdirSync(dir, { recursive: true });
  savePolicy(policy, processors, dir);
  return { dir, policy, processors };
}

export function localDataset(root: string, episodes: number[] | null = null): AnchorDataset {
  return { choice: { repo_id: `test/${root.split('/').at(-1)}`, root, episodes, exclude_episodes: null } };
}
