import { expect, test } from 'vitest';
import { combine } from './combine.js';
import { combineGroups, surgeryGroups } from './granularity.js';

const NAMES = [
  'model.encoder.layers.0.self_attn.in_proj_weight',
  'model.encoder.layers.0.norm1.weight',
  'model.encoder.layers.1.norm1.weight',
  'model.backbone.layer1.0.conv1.weight',
  'model.action_head.weight',
  'model.action_head.bias',
];

test('groups', () => {
  expect(surgeryGroups(NAMES, 'model')).toEqual([0, 0, 0, 0, 0, 0]);
  expect(surgeryGroups(NAMES, 'module')).toEqual([0, 0, 1, 2, 3, 3]);
  expect(surgeryGroups(NAMES, 'tensor')).toEqual([0, 1, 2, 3, 4, 5]);
});

const decide = (products: { d: number; T: number; R: number }) =>
  combine(products, {
    ...{ surgery: 'projection', lambda: 1, mode: 'weighted', threshold: 0, metric: 'cosine' },
    ...{ retainScale: 1, cagradC: 0 },
  });

// Two tensors: the first in conflict, the second not; over both the conflict cancels.
const TENSORS = [
  { d: -2, T: 2, R: 4 },
  { d: 3, T: 9, R: 1 },
];

test('conflicts that cancel in the whole are found tensor by tensor', () => {
  const whole = combineGroups(TENSORS, [0, 0], decide);
  expect(whole).toMatchObject({ d: 1, T: 11, R: 5, a: 1, b: 1, conflictShare: 0 });
  expect(whole.norm).toBeCloseTo(Math.sqrt(11 + 2 + 5), 12);
  const each = combineGroups(TENSORS, [0, 1], decide);
  // First: b = 1 + 2/4, |g|² = 2 − 2·1.5·2 + 1.5²·4 = 5; second: 9 + 6 + 1 = 16.
  expect(each).toMatchObject({ d: 1, a: [1, 1], b: [1.5, 1], conflictShare: 0.5 });
  expect(each.norm).toBeCloseTo(Math.sqrt(21), 12);
});
