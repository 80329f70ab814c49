import { CraftError, memory, rand, randn, scope, type Tensor, tensor } from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import type { DatasetStats } from '../../../datasets/src/dataset/stats.js';
import { evenStats } from '../../../datasets/test/stats.js';
import type { NormalizationMode, PolicyFeatures } from '../config/policy-fields.js';
import { NormalizerStep, UnnormalizerStep } from './normalizer.js';
import { statTensors } from './stats.js';

const features: PolicyFeatures = {
  'observation.state': { type: 'STATE', shape: [3] },
  action: { type: 'ACTION', shape: [2] },
};

function stats(): DatasetStats {
  const moments = { min: -3, max: 5, mean: 0.5, std: 2 };
  const of = (n: number) => evenStats(n, { ...moments, q01: -2.5, q10: -1, q50: 0, q90: 3, q99: 4 });
  return { 'observation.state': of(3), action: of(2) };
}

function steps(mode: NormalizationMode, changed: DatasetStats = stats()) {
  const options = {
    features,
    normMap: { STATE: mode, ACTION: mode },
    stats: statTensors(changed),
    where: 'stats.json',
  };
  return { normalizer: new NormalizerStep(options), unnormalizer: new UnnormalizerStep(options) };
}

const difference = (a: Tensor, b: Tensor) => a.sub(b).abs().max().item();

function code(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    return error instanceof CraftError ? error.code : String(error);
  }
  return 'no error';
}

describe('modes', () => {
  // One value of the state per mode, computed by hand.
  test.each<[NormalizationMode, number, number]>([
    ['MEAN_STD', 2.5, 1],
    ['MIN_MAX', 5, 1],
    ['MIN_MAX', -3, -1],
    ['MIN_MAX', 9, 2],
    ['QUANTILES', 4, 1],
    ['QUANTILES', 0.75, 0],
    ['QUANTILE10', -1, -1],
    ['IDENTITY', 7, 7],
  ])('%s maps %f to %f', (mode, value, wanted) => {
    const { normalizer } = steps(mode);
    const state = normalizer.process({ 'observation.state': tensor([[value, value, value]]) })[
      'observation.state'
    ]!;
    expect(difference(state, tensor([[wanted, wanted, wanted]]))).toBeLessThan(1e-6);
  });

  test.each<NormalizationMode>(['MEAN_STD', 'MIN_MAX', 'QUANTILES', 'QUANTILE10', 'IDENTITY'])(
    '%s there and back',
    (mode) => {
      const { normalizer, unnormalizer } = steps(mode);
      const action = randn([4, 7, 2]).mul(3);
      const back = unnormalizer.process(normalizer.process({ action })).action!;
      expect(difference(back, action)).toBeLessThan(1e-5);
    },
  );

  test('a type without a mode, and keys that are no features, pass unchanged', () => {
    const step = new NormalizerStep({
      features,
      normMap: { ACTION: 'MEAN_STD' },
      stats: statTensors(stats()),
    });
    const batch = { 'observation.state': rand([2, 3]), index: tensor([1, 2]) };
    const result = step.process(batch);
    expect(result['observation.state']).toBe(batch['observation.state']);
    expect(result.index).toBe(batch.index);
  });

  test('only the chosen observations, and the action', () => {
    const options = { features, normMap: { STATE: 'MEAN_STD', ACTION: 'MEAN_STD' } as const };
    const step = new NormalizerStep({
      ...options,
      stats: statTensors(stats()),
      normalizeObservationKeys: [],
    });
    const batch = { 'observation.state': rand([2, 3]), action: rand([2, 2]) };
    const result = step.process(batch);
    expect(result['observation.state']).toBe(batch['observation.state']);
    expect(difference(result.action!, batch.action.sub(0.5).div(2))).toBeLessThan(1e-6);
  });

  test('images use one value per channel', () => {
    const camera = 'observation.images.top';
    const shape = [3, 1, 1];
    const values = { ...evenStats(3, { std: 0.5 }), shape, mean: [0.1, 0.2, 0.3] };
    const step = new NormalizerStep({
      features: { [camera]: { type: 'VISUAL', shape: [3, 4, 5] } },
      normMap: { VISUAL: 'MEAN_STD' },
      stats: statTensors({ [camera]: values }),
    });
    const image = rand([2, 3, 4, 5]);
    const expected = image.sub(tensor([0.1, 0.2, 0.3], { shape })).div(0.5);
    expect(difference(step.process({ [camera]: image })[camera]!, expected)).toBeLessThan(1e-6);
  });

  test('float64 becomes float32, whatever the mode', () => {
    for (const mode of ['MEAN_STD', 'IDENTITY'] as const) {
      const state = tensor([[1, 2, 3]], { dtype: 'float64' });
      expect(steps(mode).normalizer.process({ 'observation.state': state })['observation.state']!.dtype).toBe(
        'float32',
      );
    }
  });
});

describe('features that never vary, as LeRobot', () => {
  test('standard deviation 0: the mean becomes 0 and comes back', () => {
    const changed = stats();
    changed.action!.std = [0, 2];
    const { normalizer, unnormalizer } = steps('MEAN_STD', changed);
    const normal = normalizer.process({ action: tensor([[0.5, 2.5]]) });
    expect(normal.action!.tolist()).toEqual([[0, 1]]);
    expect(unnormalizer.process({ action: tensor([[0.7, 1]]) }).action!.tolist()).toEqual([[0.5, 2.5]]);
  });

  test('min = max: that value becomes -1 and comes back', () => {
    const changed = stats();
    changed.action!.min = [2, -3];
    changed.action!.max = [2, 5];
    const { normalizer, unnormalizer } = steps('MIN_MAX', changed);
    const normal = normalizer.process({ action: tensor([[2, 5]]) });
    expect(normal.action!.tolist()).toEqual([[-1, 1]]);
    expect(unnormalizer.process(normal).action!.tolist()).toEqual([[2, 5]]);
  });
});

describe('statistics that cannot be used', () => {
  test('missing feature: names feature and statistic', () => {
    const { action: _, ...rest } = stats();
    expect(code(() => steps('MEAN_STD', rest))).toBe('NORMALIZER_STATS_MISSING');
    expect(() => steps('MEAN_STD', rest)).toThrow(/stats\.json.*"mean" of "action"/);
  });

  test('missing quantiles', () => {
    const changed = stats();
    delete changed['observation.state']!.q99;
    expect(() => steps('QUANTILES', changed)).toThrow(/"q99" of "observation\.state"/);
    expect(code(() => steps('MEAN_STD', changed))).toBe('no error');
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])('%f', (value) => {
    const changed = stats();
    changed.action!.std = [1, value];
    expect(code(() => steps('MEAN_STD', changed))).toBe('NORMALIZER_STATS_INVALID');
    expect(() => steps('MEAN_STD', changed)).toThrow(/"std" of "action" is NaN or infinite/);
  });

  test('a shape that does not fit', () => {
    const changed = stats();
    changed.action!.mean = [1];
    changed.action!.std = [1];
    changed.action!.shape = [1];
    for (const name of ['min', 'max', 'q01', 'q10', 'q50', 'q90', 'q99'] as const)
      changed.action![name] = [0];
    expect(() => steps('MEAN_STD', changed)).toThrow(/shape \[1\], which does not fit the feature's \[2\]/);
  });

  test('IDENTITY needs none', () => {
    expect(code(() => steps('IDENTITY', {}))).toBe('no error');
  });
});

test('a batch leaves nothing behind', () => {
  const { normalizer } = scope(() => steps('MIN_MAX'));
  const batch = { action: rand([4, 2]) };
  const before = memory().tensors;
  for (let i = 0; i < 10; i++) scope(() => void normalizer.process(batch));
  expect(memory().tensors).toBe(before);
});

test('a batch in half precision leaves the statistics as they were', () => {
  // Halves have no exact form of this.
  const changed = stats();
  changed['observation.state']!.mean = [0.123456, 0.123456, 0.123456];
  for (const step of [steps('MEAN_STD', changed), steps('QUANTILES')]) {
    const state = tensor([[0.3, 0.7, 1.1]]);
    const before = step.normalizer.process({ 'observation.state': state })['observation.state']!;
    const half = step.normalizer.process({ 'observation.state': state.to('bfloat16') })['observation.state']!;
    expect(half.dtype).toBe('bfloat16');
    const after = step.normalizer.process({ 'observation.state': state })['observation.state']!;
    expect(after.tolist()).toEqual(before.tolist());
  }
});
