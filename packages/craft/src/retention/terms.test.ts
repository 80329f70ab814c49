import type { Policy, TensorBatch } from '@craft-ft/policies';
import {
  checkpoint,
  discardCheckpoints,
  nn,
  optim,
  rand,
  scope,
  type Tensor,
  tensor,
  zeros,
} from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import { optimizationOf, RandomBatches, tinyAct } from '../../test/tiny-act.js';
import { craftConfigSchema } from '../config.js';
import { makeObjective, RetentionObjective, StartingWeights } from './objective.js';
import { ActionTerm, FeatureTerm, TokenTerm } from './terms.js';

const code = (name: string) => expect.objectContaining({ code: name });
const batch = () => new RandomBatches(4, 1).batch(0);

/** A policy whose hidden states and actions are its weight times the state; its loss is their mean square. */
class Linear extends nn.Module {
  readonly weight = new nn.Parameter(tensor([2]));
  readonly dropout = new nn.Dropout(0.5);
  readonly config = { type: 'linear' };
  modes: boolean[] = [];

  override forward(batch: TensorBatch) {
    return { loss: batch.x!.mul(this.weight).square().mean(), metrics: {} };
  }

  hiddenStates({ x }: TensorBatch) {
    this.modes.push(this.training);
    // Computed a second time in the backward pass.
    const run = (y: Tensor) => this.dropout.call(y.mul(this.weight));
    const hidden = checkpoint(run, x!.unsqueeze(1));
    return {
      layers: [x!.unsqueeze(1), hidden],
      mask: zeros([x!.size(0), 1]).eq(0),
      image: { start: 0, length: 0 },
    };
  }

  actionsForDistillation({ x }: TensorBatch) {
    return x!.mul(this.weight).unsqueeze(-1);
  }

  parameterGroups() {
    return [{ parameters: this.namedParameters() }];
  }
}

const linear = () => {
  const module = new Linear();
  return {
    module,
    policy: module as unknown as Policy,
    flat: new optim.FlatParameters(module.parameterGroups()),
  };
};
const x = () =>
  tensor([
    [1, 2],
    [3, 4],
  ]);
const features = (more: object = {}) =>
  new FeatureTerm({
    ...{
      mode: 'hidden',
      spec: { layers: [-1], poolings: ['mean_masked'] },
      distance: 'mse',
      reduction: 'mean',
    },
    ...{ normalize: true, secondMoment: [[10]] },
    ...more,
  });

function measure(objective: RetentionObjective, policy: Policy, batch: TensorBatch): number {
  const mean = objective.mean(policy);
  mean.add(batch);
  return mean.loss;
}

describe('values by hand', () => {
  // Student 2x, teacher x: differences (1, 2), (3, 4), mean square 7.5; per sample 2.5 and 12.5.
  const teacher = () => ({ 'anchor.hidden': x().view([2, 1, 1, 2]) });
  test.each([
    ['a fraction of the second moment', {}, 0.75],
    ['in the units of the features', { normalize: false }, 7.5],
    ['l1 by its root', { distance: 'l1' }, 2.5 / Math.sqrt(10)],
    ['cosine: directions only', { distance: 'cosine' }, 0],
    ['summed over samples', { reduction: 'sum' }, 1.5],
  ])('%s', (_, more, expected) => {
    const { module, policy } = linear();
    module.eval();
    const { loss } = features(more).loss(policy, { x: x(), ...teacher() });
    expect(loss.item()).toBeCloseTo(expected, 5);
    discardCheckpoints();
  });

  test('every layer and pooling counts alike, whatever its scale', () => {
    const { module, policy } = linear();
    module.eval();
    const spec = { layers: [0, 1], poolings: ['mean_masked', 'last_token'] as const };
    const hidden = zeros([2, 2, 2, 2]);
    // Layer 0: x against 0, mean square 7.5; layer 1: 2x against 0, 30.
    const { loss } = features({
      spec,
      secondMoment: [
        [7.5, 7.5],
        [30, 30],
      ],
    }).loss(policy, { x: x(), 'anchor.hidden': hidden });
    expect(loss.item()).toBeCloseTo(1, 5);
    discardCheckpoints();
  });

  test('actions, with and without a mask', () => {
    const { policy } = linear();
    const given = { x: x(), 'anchor.action': x().unsqueeze(-1) };
    expect(new ActionTerm('l1', 'mean').loss(policy, given).loss.item()).toBeCloseTo(2.5, 6);
    expect(new ActionTerm('mse', 'sum').loss(policy, given).loss.item()).toBeCloseTo(15, 6);
    const masked = {
      ...given,
      'anchor.action_mask': tensor([
        [1, 0],
        [1, 1],
      ]).ne(0),
    };
    // Rows 1 and 3.5.
    expect(new ActionTerm('l1', 'mean').loss(policy, masked).loss.item()).toBeCloseTo(2.25, 6);
  });
});

describe('the teacher of a run without a cache', () => {
  test('is the policy at the start: distances are 0, and grow as it moves', () => {
    const { module, policy, flat } = linear();
    const objective = new RetentionObjective(
      [{ term: new ActionTerm('l1', 'mean'), weight: 2 }],
      new StartingWeights(flat),
    );
    expect(measure(objective, policy, { x: x() })).toBe(0);
    flat.data.add_(1);
    expect(module.weight.item()).toBe(3);
    const moved = measure(objective, policy, { x: x() });
    expect([moved, (flat.data.tolist() as number[])[0]]).toEqual([2 * 2.5, 3]);
  });

  test('changes places without a trace, and travels in a checkpoint', () => {
    const policy = tinyAct();
    const { parameters } = optimizationOf(policy);
    const teacher = new StartingWeights(parameters);
    const start = parameters.data.tolist();
    parameters.data.add_(rand([parameters.size]));
    const now = parameters.data.tolist();
    teacher.during(() => expect(parameters.data.tolist()).toEqual(start));
    expect(parameters.data.tolist()).toEqual(now);
    expect(() => teacher.during(() => policy.actionsForDistillation({}))).toThrow(code('POLICY_INPUT'));
    expect(parameters.data.tolist()).toEqual(now);
    const other = new StartingWeights(parameters);
    expect(other.restore(teacher.tensors())).toBe(true);
    other.during(() => expect(parameters.data.tolist()).toEqual(start));
    expect(other.restore(new Map())).toBe(false);
  });

  test('tells the scale of its features before training', () => {
    const policy = tinyAct();
    const { parameters } = optimizationOf(policy);
    const config = craftConfigSchema.parse({ retention_mode: 'hidden', hidden_layers: [0, -1] });
    const objective = makeObjective(config, null, parameters);
    const [term] = objective.calibrated;
    const complete = objective.withTargets(policy, batch());
    term!.calibrate?.([complete['anchor.hidden']!]);
    const [[first], [last]] = term!.state!() as number[][];
    const square = (layer: number) => complete['anchor.hidden']!.select(1, layer).square().mean().item();
    expect([first, last]).toEqual([expect.closeTo(square(0), 6), expect.closeTo(square(1), 6)]);
    // A cache, or a restored checkpoint, has the last word.
    term!.calibrate?.([zeros([1, 2, 1, 8])]);
    expect(term!.state!()).toEqual([[first], [last]]);
  });
});

test("the gradient is the weighted sum of the terms', in the mode that each needs", () => {
  const { module, policy, flat } = linear();
  const gradient = flat.gradBuffer();
  const loss = makeObjective(craftConfigSchema.parse({}), null, flat).terms[0]!.term;
  const objective = new RetentionObjective([
    { term: loss, weight: 2 },
    { term: features(), weight: 3 },
  ]);
  const given = { x: x(), 'anchor.hidden': x().view([2, 1, 1, 2]) };
  const numbers = scope(() => objective.gradient(policy, given, gradient, 'loss', 0.5));
  // w = 2: (w²·7.5)' = 30; ((w − 1)²·7.5/10)' = 1.5. Dropout of 0.5 would have scaled the second by 0 or 2, also where the
  // checkpoint computes it again.
  expect((gradient.flat.tolist() as number[])[0]).toBeCloseTo(0.5 * (2 * 30 + 3 * 1.5), 4);
  expect(numbers.loss).toBeCloseTo(2 * 30 + 3 * 0.75, 4);
  expect(numbers.metrics.hidden_loss).toBeCloseTo(0.75, 5);
  expect([module.modes, module.training, module.dropout.training]).toEqual([[false], true, true]);
});

describe('what does not go together', () => {
  test.each<[string, () => unknown, string]>([
    ['token_ce without tokens', () => new TokenTerm('mean').loss(tinyAct(), batch()), 'RETENTION_TOKENS'],
    ['no target', () => features().loss(tinyAct(), batch()), 'ANCHOR_TARGET_MISSING'],
    [
      'features of another width',
      () => features().loss(tinyAct(), { ...batch(), 'anchor.hidden': zeros([4, 1, 1, 5]) }),
      'HIDDEN_SHAPE',
    ],
    [
      'features of other layers',
      () => features().loss(tinyAct(), { ...batch(), 'anchor.hidden': zeros([4, 3, 1, 8]) }),
      'HIDDEN_SHAPE',
    ],
    [
      'actions of another chunk',
      () => new ActionTerm('l1', 'mean').loss(tinyAct(), { ...batch(), 'anchor.action': zeros([4, 9, 2]) }),
      'ANCHOR_ACTION_SHAPE',
    ],
    [
      'a layer that is not there',
      () =>
        features({ spec: { layers: [3], poolings: ['mean_masked'] } }).loss(tinyAct(), {
          ...batch(),
          'anchor.hidden': zeros([4, 1, 1, 8]),
        }),
      'FEATURE_LAYER',
    ],
    [
      'image tokens of a policy without cameras',
      () =>
        features({ spec: { layers: [-1], poolings: ['mean_image_tokens'] } }).loss(tinyAct(), {
          ...batch(),
          'anchor.hidden': zeros([4, 1, 1, 8]),
        }),
      'IMAGE_TOKENS',
    ],
  ])('%s', (_, run, expected) => {
    expect(run).toThrow(code(expected));
  });
});
