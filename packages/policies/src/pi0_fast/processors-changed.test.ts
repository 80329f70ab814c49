import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scope, tensor } from '@craft-ft/torch';
import { beforeEach, expect, test } from 'vitest';
import type { DatasetStats } from '../../../datasets/src/dataset/stats.js';
import { evenStats } from '../../../datasets/test/stats.js';
import { thrown } from '../../../datasets/test/thrown.js';
import { newFolder, smallFast } from '../../test/tokenizers.js';
import { loadProcessors, makeProcessors, resolveDevice } from '../policy-processors.js';
import { saveProcessors } from '../processors/pipeline.js';
import { statTensors } from '../processors/stats.js';
import { parsePolicyConfig } from '../registry.js';
import type { Pi0FastConfig } from './configuration.js';
import { Pi0FastPolicy } from './policy.js';

const STEPS = 4;
const fast = smallFast(STEPS, 2).folder;

const statistics = (sizes: Record<string, number>, limit: number): DatasetStats => {
  const ends = { min: -limit, max: limit, q01: -limit, q99: limit };
  return Object.fromEntries(Object.entries(sizes).map(([key, n]) => [key, evenStats(n, ends)]));
};

function configuration(changes: Partial<Pi0FastConfig> = {}, [state, action] = [3, 2]): Pi0FastConfig {
  return parsePolicyConfig(
    {
      type: 'pi0_fast',
      device: 'cpu',
      paligemma_variant: 'gemma_tiny',
      image_resolution: [28, 28],
      chunk_size: STEPS,
      n_action_steps: STEPS,
      text_tokenizer_name: 'builtin:bytes',
      action_tokenizer_name: fast,
      max_state_dim: 4,
      input_features: { 'observation.state': { type: 'STATE', shape: [state] } },
      output_features: { action: { type: 'ACTION', shape: [action] } },
      ...changes,
    },
    'test',
  ) as Pi0FastConfig;
}

const saved = statTensors(statistics({ 'observation.state': 3, action: 2 }, 2));
let dir = '';
beforeEach(() => {
  dir = newFolder();
  saveProcessors(makeProcessors(configuration(), saved), dir);
});

test('another robot: the new statistics bring features and normalisation with them', () => {
  const config = configuration(
    { normalization_mapping: { VISUAL: 'IDENTITY', STATE: 'QUANTILES', ACTION: 'IDENTITY' } },
    [5, 1],
  );
  expect(thrown(() => loadProcessors(dir, config))).toMatchObject({
    code: 'PROCESSOR_FEATURES',
    message: expect.stringMatching(
      /"observation.state" of shape \[3\].*\[5\].*--normalization_stats=dataset/,
    ),
  });
  const stats = statTensors(statistics({ 'observation.state': 5, action: 1 }, 4));
  const processors = loadProcessors(dir, config, { stats });
  const inputs = { 'observation.state': tensor([[4, 0, 0, 0, -4]]), action: tensor([[[1], [2], [3], [4]]]) };
  const batch = processors.preprocess(inputs, { task: ['push'] });
  expect(batch['observation.state']!.tolist()).toEqual([[1, 0, 0, 0, -1]]);
  expect(batch.action!.tolist()).toEqual([[[1], [2], [3], [4]]]);
  expect(processors.postprocess(tensor([[2]])).tolist()).toEqual([[2]]);
});

test("lengths are the policy's, not those of the file", () => {
  const processors = loadProcessors(dir, configuration({ tokenizer_max_length: 90, max_action_tokens: 70 }));
  const inputs = { 'observation.state': tensor([[0, 0, 0]]), action: tensor([Array(STEPS).fill([0, 1])]) };
  const batch = processors.preprocess(inputs, { task: ['push'] });
  expect(batch['observation.language.tokens']!.shape).toEqual([1, 90]);
  expect(batch['action.tokens']!.shape).toEqual([1, 70]);
});

test('absolute or relative actions are not changed without new statistics, even where the file lacks the steps', () => {
  for (const [name, step] of [
    ['policy_preprocessor.json', 2],
    ['policy_postprocessor.json', 1],
  ] as const) {
    const json = JSON.parse(readFileSync(join(dir, name), 'utf8'));
    json.steps.splice(step, 1);
    writeFileSync(join(dir, name), JSON.stringify(json));
  }
  const config = configuration({ use_relative_actions: true });
  expect(thrown(() => loadProcessors(dir, config))).toMatchObject({ code: 'PROCESSOR_RELATIVE' });
  const processors = loadProcessors(dir, config, { stats: saved });
  const inputs = { 'observation.state': tensor([[1, 1, 0]]), action: tensor([Array(STEPS).fill([3, 1])]) };
  expect(
    processors
      .preprocess(inputs, { task: ['push'] })
      .action!.select(1, 0)
      .tolist(),
  ).toEqual([[1, 0]]);
});

test('relative actions that are handed out one by one belong to the state they were predicted from', () => {
  const config = configuration({ use_relative_actions: true });
  const processors = makeProcessors(config, saved);
  const policy = new Pi0FastPolicy(config);
  policy.useDetokenizer({
    bosId: 2,
    endId: 128,
    decode: (_, steps, dimensions) => ({
      actions: Array.from({ length: steps }, () => Array<number>(dimensions).fill(0)),
      problem: null,
    }),
  });
  processors.follow(policy);
  const act = (at: number) =>
    scope(() => {
      const batch = processors.preprocess({ 'observation.state': tensor([[at, at, 0]]) }, { task: ['push'] });
      return processors.postprocess(policy.selectAction(batch)).tolist();
    });
  expect([act(0.5), act(1), act(1.5), act(1.75)]).toEqual(Array(4).fill([[0.5, 0.5]]));
  expect(act(1)).toEqual([[1, 1]]);
});

test('a device that is not there is named before anything moves', () => {
  expect(thrown(() => resolveDevice('cuda:99'))).toMatchObject({
    code: 'DEVICE_UNAVAILABLE',
    message: expect.stringContaining('cuda:99'),
  });
});
