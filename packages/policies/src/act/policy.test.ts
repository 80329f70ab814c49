import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { manualSeed, memory, rand, safetensors, scope, tensor, zeros } from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import { evenStats } from '../../../datasets/test/stats.js';
import { thrown as error } from '../../../datasets/test/thrown.js';
import { smallAct as configure } from '../../test/act-small.js';
import { datasetPolicyFeatures, withDatasetFeatures } from '../dataset-features.js';
import { makeProcessors } from '../policy-processors.js';
import { loadPolicy, makePolicy, savePolicy } from '../pretrained.js';
import { statTensors } from '../processors/stats.js';
import { readPolicyConfig } from '../registry.js';
import { ActPolicy } from './policy.js';

const batch = () => ({
  'observation.state': rand([5, 3]),
  action: rand([5, 4, 2]),
  action_is_pad: zeros([5, 4], { dtype: 'bool' }),
});

describe('random numbers', () => {
  test('the seed decides weights and latent noise', () => {
    const inputs = batch();
    const run = () => {
      manualSeed(3);
      const policy = new ActPolicy(configure({ dropout: 0 }));
      return policy.call(inputs).loss.item();
    };
    expect(run()).toBe(run());
  });

  test('matrices of encoder and decoder are Glorot-uniform', () => {
    const policy = new ActPolicy(configure());
    const bound = Math.sqrt(6 / (32 + 16));
    const weight = policy.model.encoder.layers.at(0).linear1.weight;
    const largest = weight.abs().max().item();
    expect(largest).toBeLessThanOrEqual(bound);
    expect(largest).toBeGreaterThan(bound * 0.95);
  });
});

describe('loss', () => {
  test('padded steps do not count', () => {
    const policy = new ActPolicy(configure({ use_vae: false, dropout: 0 }));
    const inputs = batch();
    const mask = [false, false, true, true];
    const padded = { ...inputs, action_is_pad: tensor([mask, mask, mask, mask, mask]) };
    const other = { ...padded, action: inputs.action.clone() };
    other.action.narrow(1, 2, 2).fill_(100);
    const loss = policy.call(padded).loss.item();
    expect(policy.call(other).loss.item()).toBe(loss);
    const actions = policy.model.call(inputs).actions;
    const expected = actions.sub(inputs.action).abs().narrow(1, 0, 2).mean().item();
    expect(Math.abs(loss - expected)).toBeLessThan(1e-6);
  });

  test('is 0, not NaN, where everything is padding', () => {
    const policy = new ActPolicy(configure({ use_vae: false }));
    const inputs = { ...batch(), action_is_pad: zeros([5, 4], { dtype: 'bool' }).logicalNot() };
    expect(policy.call(inputs).loss.item()).toBe(0);
  });

  test('a step leaves no tensors behind', () => {
    const policy = new ActPolicy(configure());
    const inputs = batch();
    const step = () => scope(() => policy.call(inputs).loss.backward());
    step();
    const before = memory().tensors;
    for (let i = 0; i < 5; i++) step();
    expect(memory().tensors).toBe(before);
  });
});

describe('inputs', () => {
  test('a missing or misshaped key is named', () => {
    const policy = new ActPolicy(configure());
    const { 'observation.state': _, ...rest } = batch();
    expect(error(() => policy.call(rest)).message).toMatch(/no "observation\.state"/);
    const wide = { ...batch(), 'observation.state': rand([5, 7]) };
    expect(error(() => policy.call(wide)).message).toBe(
      '"observation.state" has shape [5, 7], the policy expects [batch, 3]',
    );
    const { action_is_pad: __, ...unpadded } = batch();
    expect(error(() => policy.call(unpadded)).message).toMatch(/no "action_is_pad"/);
  });

  test('no usable feature, or no action', () => {
    expect(error(() => new ActPolicy(configure({ input_features: {} }))).code).toBe('POLICY_FEATURES');
    expect(error(() => new ActPolicy(configure({ output_features: {} }))).code).toBe('POLICY_FEATURES');
  });

  test('cameras need a backbone that is built in, and weights that can be had', () => {
    const input_features = { 'observation.images.top': { type: 'VISUAL', shape: [3, 64, 64] } };
    expect(error(() => makePolicy(configure({ input_features }))).message).toMatch(
      /pretrained_backbone_weights/,
    );
    const random = { input_features, pretrained_backbone_weights: null };
    const unknown = configure({ ...random, vision_backbone: 'resnet50' });
    expect(error(() => makePolicy(unknown)).code).toBe('POLICY_BACKBONE');
    const dilated = configure({ ...random, replace_final_stride_with_dilation: true });
    expect(error(() => makePolicy(dilated)).code).toBe('POLICY_BACKBONE');
    const policy = makePolicy(configure({ ...random, vision_backbone: 'resnet18_narrow' }));
    expect(policy.predictActionChunk({ 'observation.images.top': rand([2, 3, 64, 64]) }).shape).toEqual([
      2, 4, 2,
    ]);
    expect(policy.parameterGroups()[1]!.parameters.map(([name]) => name)).toContain(
      'model.backbone.conv1.weight',
    );
  });
});

describe('selectAction', () => {
  const observe = () => ({ 'observation.state': rand([1, 3]) });

  test('carries out a chunk before it predicts the next', () => {
    const policy = new ActPolicy(configure({ n_action_steps: 3 }));
    const first = observe();
    const chunk = policy.predictActionChunk(first);
    for (let step = 0; step < 3; step++) {
      const action = policy.selectAction(step === 0 ? first : observe());
      expect(action.equal(chunk.select(1, step))).toBe(true);
      expect(policy.queuedActions).toBe(2 - step);
    }
    const next = observe();
    expect(policy.selectAction(next).equal(policy.predictActionChunk(next).select(1, 0))).toBe(true);
  });

  test('a reset starts a new chunk', () => {
    const policy = new ActPolicy(configure());
    policy.selectAction(observe());
    policy.reset();
    expect(policy.queuedActions).toBe(0);
    const observation = observe();
    expect(policy.selectAction(observation).equal(policy.predictActionChunk(observation).select(1, 0))).toBe(
      true,
    );
  });

  test('works inside scopes, and with temporal ensembling', () => {
    for (const changes of [{}, { temporal_ensemble_coeff: 0.01, n_action_steps: 1 }]) {
      const policy = new ActPolicy(configure(changes));
      for (let step = 0; step < 6; step++) {
        const action = scope(() => policy.selectAction(observe()).tolist()) as number[][];
        expect(action[0]!.every(Number.isFinite)).toBe(true);
      }
      expect(policy.queuedActions).toBe('temporal_ensemble_coeff' in changes ? 0 : 2);
    }
  });

  test('keeps the mode it found', () => {
    const policy = new ActPolicy(configure());
    policy.selectAction(observe());
    expect([policy.training, policy.model.encoder.training]).toEqual([true, true]);
  });
});

describe('parameters', () => {
  test("groups are LeRobot's: all of them once, the backbone last", () => {
    const policy = new ActPolicy(configure());
    const [main, backbone] = policy.parameterGroups();
    expect(main!.parameters.map(([name]) => name)).toEqual(policy.namedParameters().map(([name]) => name));
    expect(backbone).toEqual({ parameters: [], lr: 1e-5 });
  });

  test('come in the order in which LeRobot numbers them', () => {
    const policy = new ActPolicy(configure({ n_decoder_layers: 1 }));
    const blocks = policy.namedParameters().map(([name]) => name.split('.')[1]!);
    expect([...new Set(blocks)]).toEqual([
      'vae_encoder',
      'vae_encoder_cls_embed',
      'vae_encoder_robot_state_input_proj',
      'vae_encoder_action_input_proj',
      'vae_encoder_latent_output_proj',
      'encoder',
      'decoder',
      'encoder_robot_state_input_proj',
      'encoder_latent_input_proj',
      'encoder_1d_feature_pos_embed',
      'decoder_pos_embed',
      'action_head',
    ]);
  });
});

describe('features of a dataset', () => {
  const sources = {
    'observation.state': { dtype: 'float32', shape: [6], names: null },
    'observation.environment_state': { dtype: 'float32', shape: [2], names: null },
    'observation.images.top': {
      dtype: 'video',
      shape: [480, 640, 3],
      names: ['height', 'width', 'channels'],
    },
    action: { dtype: 'float32', shape: [4], names: null },
    timestamp: { dtype: 'float32', shape: [1], names: null },
  };

  test('fill an empty configuration, without cameras where none are wanted', () => {
    const empty = configure({ input_features: {}, output_features: {} });
    const filled = withDatasetFeatures(empty, sources, 'the dataset', { cameras: [] });
    expect(filled.input_features).toEqual({
      'observation.state': { type: 'STATE', shape: [6] },
      'observation.environment_state': { type: 'ENV', shape: [2] },
    });
    expect(filled.output_features).toEqual({ action: { type: 'ACTION', shape: [4] } });
  });

  test('cameras are channels first, whatever the dataset says', () => {
    const seen = (options = {}) => datasetPolicyFeatures(sources, options).inputs['observation.images.top'];
    expect(seen()).toEqual({ type: 'VISUAL', shape: [3, 480, 640] });
    expect(seen({ imageSize: [240, 320] })).toEqual({ type: 'VISUAL', shape: [3, 240, 320] });
  });

  test('must fit what the configuration says; every difference is named', () => {
    const { code, message } = error(() =>
      withDatasetFeatures(
        configure({
          input_features: {
            'observation.state': { type: 'STATE', shape: [3] },
            'observation.images.wrist': { type: 'VISUAL', shape: [3, 480, 640] },
          },
        }),
        sources,
      ),
    );
    expect(code).toBe('POLICY_FEATURES');
    expect(message).toMatch(/"observation\.state" has shape \[6\], the policy's is \[3\]/);
    expect(message).toMatch(/"observation\.images\.wrist" is missing/);
    expect(message).toMatch(/"action" has shape \[4\], the policy's is \[2\]/);
  });
});

test('save and load: the same policy, strictly', () => {
  const dir = mkdtempSync(join(tmpdir(), 'craft-policy-'));
  try {
    const policy = new ActPolicy(configure());
    const stats = { 'observation.state': evenStats(3), action: evenStats(2) };
    const processors = makeProcessors(policy.config, statTensors(stats));
    savePolicy(policy, processors, dir);
    const load = () => loadPolicy(dir, readPolicyConfig(dir).config);
    const loaded = load();
    expect(loaded.config).toEqual(policy.config);
    const observation = { 'observation.state': rand([2, 3]) };
    expect(loaded.predictActionChunk(observation).equal(policy.predictActionChunk(observation))).toBe(true);

    const state = safetensors.loadFile(join(dir, 'model.safetensors'));
    state.set('normalize_inputs.buffer_observation_state.mean', rand([3]));
    safetensors.saveFile(join(dir, 'model.safetensors'), state);
    load();
    state.delete('model.action_head.bias');
    safetensors.saveFile(join(dir, 'model.safetensors'), state);
    expect(error(load).message).toMatch(/model\.safetensors.*missing.*model\.action_head\.bias/);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
