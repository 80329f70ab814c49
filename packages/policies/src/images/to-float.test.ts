import { rand, randint, tensor } from '@craft-ft/torch';
import { expect, test } from 'vitest';
import { NormalizerStep } from '../processors/normalizer.js';
import { imagenetStats } from '../processors/stats.js';
import { toFloat } from './image.js';

test('channels last or first, any leading dimensions', () => {
  const bytes = randint(0, 256, [2, 2, 5, 4, 3], { dtype: 'uint8' });
  const floats = toFloat(bytes);
  expect(floats.shape).toEqual([2, 2, 3, 5, 4]);
  expect(floats.dtype).toBe('float32');
  expect(floats.tolist()).toEqual(toFloat(bytes.permute([0, 1, 4, 2, 3])).tolist());
});

test('255 is exactly 1, and the division is float32’s', () => {
  const floats = toFloat(tensor([0, 51, 128, 255], { dtype: 'uint8', shape: [1, 2, 2] }));
  expect([...floats.toTypedArray()]).toEqual([0, 51, 128, 255].map((byte) => Math.fround(byte / 255)));
});

test('float images only change their layout', () => {
  const image = rand([3, 5, 4]);
  expect(toFloat(image).tolist()).toEqual(image.tolist());
  expect(toFloat(image.permute([1, 2, 0])).tolist()).toEqual(image.tolist());
});

test('a layout that cannot be told is asked for', () => {
  const square = rand([3, 7, 3]);
  expect(() => toFloat(square)).toThrow("could have its channels first or last; pass 'chw' or 'hwc'");
  expect(toFloat(square, 'hwc').shape).toEqual([3, 3, 7]);
  expect(() => toFloat(rand([4, 4, 4]))).toThrow('[4,4,4] has no dimension of 1 or 3 channels');
});

test("a normaliser with ImageNet's statistics", () => {
  const camera = 'observation.images.top';
  const step = new NormalizerStep({
    features: { [camera]: { type: 'VISUAL', shape: [3, 2, 2] } },
    normMap: { VISUAL: 'MEAN_STD' },
    stats: imagenetStats([camera]),
  });
  const white = step.process({
    [camera]: toFloat(
      tensor(
        Uint8Array.from({ length: 12 }, () => 255),
        { shape: [1, 2, 2, 3] },
      ),
    ),
  });
  const expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225];
  const found = white[camera]!.select(-1, 0).select(-1, 1).tolist() as number[][];
  for (const [i, value] of found[0]!.entries()) expect(value).toBeCloseTo(expected[i]!, 5);
});
