import { manualSeed, nn, rand, randn, scope } from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import { smallAct } from '../../test/act-small.js';
import { inEvaluationMode } from '../policy.js';
import { ActPolicy } from './policy.js';

function policy(more: object = {}): ActPolicy {
  manualSeed(1);
  return new ActPolicy(
    smallAct({
      n_encoder_layers: 3,
      pretrained_backbone_weights: null,
      input_features: {
        'observation.state': { type: 'STATE', shape: [4] },
        'observation.environment_state': { type: 'ENV', shape: [2] },
        'observation.images.left': { type: 'VISUAL', shape: [3, 64, 96] },
        'observation.images.right': { type: 'VISUAL', shape: [3, 32, 32] },
      },
      ...more,
    }),
  );
}

const batch = () => ({
  'observation.state': randn([2, 4]),
  'observation.environment_state': randn([2, 2]),
  'observation.images.left': rand([2, 3, 64, 96]),
  'observation.images.right': rand([2, 3, 32, 32]),
});

describe('hidden states of ACT', () => {
  test.each([false, true])('pre_norm %s: n + 1 of them; the last is what the encoder returns', (pre_norm) => {
    const act = policy({ pre_norm });
    act.eval();
    const encoder = act.model.encoder;
    let returned: number[] = [];
    const forward = encoder.forward.bind(encoder);
    encoder.forward = (...args) => {
      const result = forward(...args);
      returned = result.flatten().tolist() as number[];
      return result;
    };
    const given = batch();
    act.predictActionChunk(given);
    const { layers, mask, image } = act.hiddenStates(given);
    expect(layers).toHaveLength(4);
    // Latent, state, environment, then 2·3 and 1·1 cells of the last feature maps (stride 32).
    expect(image).toEqual({ start: 3, length: 7 });
    for (const layer of layers) expect(layer.shape).toEqual([2, 10, 16]);
    expect([mask.shape, mask.all().item()]).toEqual([[2, 10], 1]);
    expect(layers.at(-1)!.flatten().tolist()).toEqual(returned);
    // Entry i is what layer i makes of entry i − 1.
    expect(layers[1]!.equal(layers[0]!)).toBe(false);
  });

  test('gradients flow to the embeddings, but not through decoder or head', () => {
    const act = policy();
    act.hiddenStates(batch()).layers.at(-1)!.sum().backward();
    const reached = act.namedParameters().filter(([, parameter]) => parameter.grad !== null);
    const names = reached.map(([name]) => name.split('.')[1]);
    expect(new Set(names)).toEqual(
      new Set([
        ...['backbone', 'encoder', 'encoder_robot_state_input_proj', 'encoder_env_state_input_proj'],
        ...['encoder_latent_input_proj', 'encoder_img_feat_input_proj', 'encoder_1d_feature_pos_embed'],
      ]),
    );
  });

  test('without cameras there are no image tokens', () => {
    const act = policy({ input_features: { 'observation.state': { type: 'STATE', shape: [4] } } });
    const { image, layers } = act.hiddenStates({ 'observation.state': randn([1, 4]) });
    expect([image, layers[0]!.shape]).toEqual([{ start: 2, length: 0 }, [1, 2, 16]]);
  });
});

test('actions for distillation: those of inference, with a graph, whatever the mode', () => {
  const act = policy();
  act.train();
  const given = batch();
  const actions = act.actionsForDistillation(given);
  expect(act.training).toBe(true);
  expect(actions.tolist()).toEqual(act.predictActionChunk(given).tolist());
  actions.sum().backward();
  expect(act.model.actionHead.weight.grad).not.toBeNull();
});

test('evaluation mode is left again, module by module, also after an error', () => {
  const module = new nn.Sequential(new nn.Dropout(0.5), new nn.Linear(2, 2));
  module.namedModules()[1]![1].training = false;
  const modes = () => module.namedModules().map(([, each]) => each.training);
  inEvaluationMode(module, () => expect(modes()).toEqual([false, false, false]));
  expect(modes()).toEqual([true, false, true]);
  expect(() =>
    inEvaluationMode(module, () => {
      throw new Error('x');
    }),
  ).toThrow('x');
  expect(modes()).toEqual([true, false, true]);
  scope(() => module.call(randn([1, 2])));
});
