import { mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findPolicyDir, readJsonObject } from '../../datasets/src/json.js';
import { findGolden, shared, sharedPath } from '../../torch/test/shared.js';
import { formatProblem } from './config/check.js';
import {
  parsePolicyConfig,
  policyDeltaIndices,
  policyPresets,
  portablePolicyConfig,
  readPolicyConfig,
  validatePolicy,
} from './registry.js';

const act = (fields: object = {}) => parsePolicyConfig({ type: 'act', ...fields }, 'test');

test('features that newer versions of LeRobot write as null are taken from the dataset', () => {
  for (const type of ['act', 'pi0_fast']) {
    const config = parsePolicyConfig({ type, input_features: null, output_features: null }, 'config.json');
    expect(config).toMatchObject({ input_features: {}, output_features: {} });
  }
});

test('a config.json as LeRobot writes it parses, and nothing of it is lost', () => {
  const written = {
    type: 'act',
    n_obs_steps: 1,
    input_features: {
      'observation.state': { type: 'STATE', shape: [6] },
      'observation.images.top': { type: 'VISUAL', shape: [3, 480, 640] },
    },
    output_features: { action: { type: 'ACTION', shape: [6] } },
    device: 'cuda',
    use_amp: false,
    use_peft: false,
    push_to_hub: true,
    repo_id: 'me/act',
    private: null,
    tags: ['robot'],
    license: null,
    pretrained_path: null,
    pretrained_revision: null,
    replace_final_stride_with_dilation: 0,
  };
  expect(parsePolicyConfig(written, 'config.json')).toMatchObject({
    ...written,
    replace_final_stride_with_dilation: false,
  });
});

test('a field that newer versions of LeRobot refuse is written only where it says something', () => {
  const written = (valid: boolean) =>
    portablePolicyConfig(
      parsePolicyConfig({ type: 'pi0_fast', validate_action_token_prefix: valid }, 'config.json'),
    );
  expect(written(true)).not.toHaveProperty('validate_action_token_prefix');
  expect(written(false)).toHaveProperty('validate_action_token_prefix', false);
});

test('a state-only policy is allowed', () => {
  expect(act({ input_features: { 'observation.state': { type: 'STATE', shape: [6] } } }).type).toBe('act');
});

test('preset and delta indices', () => {
  const config = act({ chunk_size: 4, n_action_steps: 2, optimizer_lr: 3e-5 });
  expect(policyDeltaIndices(config)).toEqual({ observation: null, action: [0, 1, 2, 3], reward: null });
  expect(policyPresets(config)).toMatchObject({
    optimizer: { lr: 3e-5, grad_clip_norm: 10 },
    scheduler: null,
  });
});

test.each([
  [{ n_action_steps: 101 }, 'policy.n_action_steps=101: expected at most policy.chunk_size (100)'],
  [
    { temporal_ensemble_coeff: 0.01 },
    'policy.n_action_steps=100: expected 1 with policy.temporal_ensemble_coeff',
  ],
  [{ n_obs_steps: 2 }, 'policy.n_obs_steps=2: expected 1'],
  [{ dim_model: 30 }, 'policy.dim_model=30: expected a multiple of policy.n_heads (8)'],
  [{ normalization_mapping: { STATE: 'MIN_MAX' } }, 'expected a mode for VISUAL, ACTION too'],
  [
    { input_features: { x: { type: 'LANGUAGE', shape: [1] } } },
    'at least one feature of type STATE, ENV or VISUAL',
  ],
  [{ output_features: { x: { type: 'STATE', shape: [1] } } }, 'expected a feature of type ACTION'],
])('%j is refused', (fields, expected) => {
  expect(() => act(fields)).toThrow(expected);
});

test.each([
  [{ vision_backbone: 'vit' }, 'type.json: vision_backbone=vit: expected resnet...'],
  [{ feedforward_activation: 'glu' }, 'feedforward_activation=glu: expected relu|gelu'],
  [{ device: 'gpu' }, 'device=gpu: expected cpu|cuda'],
  [{ chunk_sizes: 1 }, 'chunk_sizes=1: no such field; did you mean chunk_size?'],
  [{ type: 'pi0' }, 'type=pi0: expected act'],
])('%j is refused, naming the file', (fields, expected) => {
  expect(() => parsePolicyConfig({ type: 'act', ...fields }, 'type.json')).toThrow(expected);
});

test('ensembling with one action step is accepted', () => {
  expect(
    validatePolicy(act({ temporal_ensemble_coeff: 0.01, n_action_steps: 1 })).map(formatProblem),
  ).toEqual([]);
});

test('a policy is found in its folder, in a checkpoint and in a run', () => {
  const run = mkdtempSync(join(tmpdir(), 'craft-'));
  const model = join(run, 'checkpoints', 'last', 'pretrained_model');
  mkdirSync(model, { recursive: true });
  writeFileSync(join(model, 'config.json'), '{"type": "act"}');
  for (const path of [run, join(run, 'checkpoints', 'last'), model]) expect(findPolicyDir(path)).toBe(model);
  expect(readPolicyConfig(run).config.type).toBe('act');
  expect(() => findPolicyDir(join(run, 'checkpoints'))).toThrow('is this a policy?');
  expect(() => findPolicyDir('user/name')).toThrow('user/name: no such folder');
  writeFileSync(join(model, 'config.json'), '{"type": ');
  expect(() => readPolicyConfig(run)).toThrow(/config\.json: /);
});

describe('golden configurations', () => {
  const own = findGolden('act')!;
  const more = shared === null ? [] : readdirSync(sharedPath('golden', 'act'));
  const names = [...new Set([...readdirSync(own), ...more])];
  const folders = names.filter((name) => /^[a-e]\d?_/.test(name));
  test.each(folders)('%s parses', (name) => {
    const file = findGolden('act', name, 'config.json')!;
    const plain = readJsonObject(file);
    expect(parsePolicyConfig(plain, file)).toMatchObject(plain);
  });
});
