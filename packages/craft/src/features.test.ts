import type { Tensor } from '@craft-ft/torch';
import * as torch from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import { type Pooling, poolHiddenStates } from './features.js';

// Rows: padding on the right, on the left, on both sides, everywhere. Position p of row r holds 10r + p.
const mask = torch.tensor([
  [1, 1, 0, 0],
  [0, 0, 1, 1],
  [0, 1, 1, 0],
  [0, 0, 0, 0],
]);
const hidden = () =>
  torch.tensor([0, 10, 20, 30].map((row) => [0, 1, 2, 3].map((position) => [row + position])));
const pooled = (pooling: Pooling, states = hidden(), attention = mask) =>
  poolHiddenStates(states, attention, pooling).flatten().tolist();

describe('poolHiddenStates', () => {
  test('the mask says where the tokens are, wherever the padding is; an empty row pools to zero', () => {
    expect(pooled('last_token')).toEqual([1, 13, 22, 0]);
    expect(pooled('cls_token')).toEqual([0, 12, 21, 0]);
    expect(pooled('mean_masked')).toEqual([0.5, 12.5, 21.5, 0]);
    expect(pooled('last_token', hidden(), mask.ne(0))).toEqual([1, 13, 22, 0]);
  });

  test('what lies in the padding, even NaN, has no influence', () => {
    const states = hidden().maskedFill(mask.eq(0).unsqueeze(-1), Number.NaN).requiresGrad_();
    for (const pooling of ['last_token', 'cls_token', 'mean_masked'] as const) {
      expect(pooled(pooling, states)).toEqual(pooled(pooling));
    }
    poolHiddenStates(states, mask, 'mean_masked').sum().backward();
    expect((states.grad as Tensor).select(0, 1).flatten().tolist()).toEqual([0, 0, 0.5, 0.5]);
  });

  test('image tokens are the first ones, and their number has no default', () => {
    const mean = (imageTokens?: number) =>
      poolHiddenStates(hidden(), mask, 'mean_image_tokens', { imageTokens }).flatten().tolist();
    expect(mean(3)).toEqual([1, 11, 21, 31]);
    for (const wrong of [undefined, 0, -1, 1.5, 5, Number.NaN]) {
      expect(() => mean(wrong)).toThrow(expect.objectContaining({ code: 'IMAGE_TOKENS' }));
    }
  });

  test('a mask of the text alone, and an unknown pooling, are refused', () => {
    const code = (name: string) => expect.objectContaining({ code: name });
    expect(() => pooled('last_token', hidden(), mask.narrow(1, 0, 2))).toThrow(code('POOLING_SHAPE'));
    expect(() => pooled('max' as Pooling)).toThrow(code('POOLING_UNKNOWN'));
  });
});
