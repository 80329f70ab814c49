import { describe, expect, test } from 'vitest';
import { parsePolicyConfig, policyDeltaIndices, policyPresets, validatePolicy } from '../registry.js';
import { type Pi0FastConfig, pi0FastConfigSchema } from './configuration.js';

const configure = (changes: object = {}): Pi0FastConfig =>
  pi0FastConfigSchema.parse({ type: 'pi0_fast', ...changes });

describe('the configuration of pi0_fast', () => {
  test("has LeRobot's defaults", () => {
    expect(configure()).toMatchObject({
      paligemma_variant: 'gemma_2b',
      dtype: 'float32',
      chunk_size: 50,
      n_action_steps: 50,
      max_action_tokens: 256,
      image_resolution: [224, 224],
      tokenizer_max_length: 200,
      fast_skip_tokens: 128,
      normalization_mapping: { VISUAL: 'IDENTITY', STATE: 'QUANTILES', ACTION: 'QUANTILES' },
    });
    expect(validatePolicy(configure())).toEqual([]);
  });

  test('presets follow its fields', () => {
    const { optimizer, scheduler } = policyPresets(configure({ optimizer_lr: 1e-4 }));
    expect(optimizer).toMatchObject({ lr: 1e-4, betas: [0.9, 0.95], weight_decay: 0.01, grad_clip_norm: 1 });
    expect(scheduler).toMatchObject({ peak_lr: 1e-4, decay_lr: 2.5e-6, num_warmup_steps: 1000 });
    expect(policyDeltaIndices(configure({ chunk_size: 3, n_action_steps: 2 })).action).toEqual([0, 1, 2]);
  });

  test.each([
    [{ n_obs_steps: 2 }, 'policy.n_obs_steps'],
    [{ chunk_size: 10 }, 'policy.n_action_steps'],
    [{ image_resolution: [112, 112] }, 'policy.image_resolution'],
    [{ image_resolution: [112, 100], paligemma_variant: 'gemma_tiny' }, 'policy.image_resolution'],
  ])('refuses %o', (changes, field) => {
    expect(validatePolicy(configure(changes)).map((problem) => problem.field)).toEqual([field]);
  });

  test('small variants take any multiple of the patch', () => {
    const config = configure({ image_resolution: [112, 56], paligemma_variant: 'gemma_mini' });
    expect(validatePolicy(config)).toEqual([]);
  });

  test('unknown variants and dtypes are named', () => {
    const parse = (changes: object) => () =>
      parsePolicyConfig({ type: 'pi0_fast', ...changes }, 'config.json');
    expect(parse({ paligemma_variant: 'gemma_9b' })).toThrow('paligemma_variant');
    expect(parse({ dtype: 'float16' })).toThrow('dtype');
  });

  test('empty cameras that LeRobot saved are not inputs of the dataset', () => {
    const camera = { type: 'VISUAL', shape: [3, 224, 224] };
    const inputs = { 'observation.images.top': camera, 'observation.images.empty_camera_0': camera };
    const config = configure({ input_features: inputs, empty_cameras: 1 });
    expect(Object.keys(config.input_features)).toEqual(['observation.images.top']);
  });
});
