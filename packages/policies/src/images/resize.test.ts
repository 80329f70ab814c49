import { readFileSync } from 'node:fs';
import { full, rand, safetensors, type Tensor, tensor } from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import { findGolden } from '../../../torch/test/shared.js';
import { type ImageSize, resize, resizeWithPad } from './image.js';

const far = (x: Tensor, y: Tensor) => x.sub(y).abs().max().item();
const first = (x: Tensor) => x.permute([0, 3, 1, 2]);

describe("equal to LeRobot's pi0_fast", () => {
  const cases: { case: string | number; target_hw?: ImageSize; layout?: string }[] = JSON.parse(
    readFileSync(findGolden('pi0_fast', 'resize.json')!, 'utf8'),
  );
  const tensors: Map<string, Tensor> = safetensors.loadFile(findGolden('pi0_fast', 'resize.safetensors')!);

  const of = (name: string) => tensors.get(name)!;
  const sized = cases.filter((one) => one.target_hw !== undefined);

  test.each(sized)('case $case', ({ case: id, target_hw: size, layout }) => {
    const name = typeof id === 'number' ? `case${id}` : id;
    const ordered = layout === 'BHWC' ? first : (x: Tensor) => x;
    const [input, expected] = [ordered(of(`${name}.in`)), ordered(of(`${name}.out`))];
    const found = name.startsWith('interp')
      ? resize(input, size!, { antialias: false })
      : resizeWithPad(input, size!);
    expect(found.shape).toEqual(expected.shape);
    expect(far(found, expected)).toBeLessThan(1e-6);
  });

  test('an image preprocessed for the model', () => {
    // Twice the rounding of interpolation, which is 1e-6 here between versions of libtorch.
    const found = resizeWithPad(of('preprocess_chw.in'), [28, 28]).mul(2).sub(1);
    expect(far(found, of('preprocess_chw.out_present'))).toBeLessThan(4e-6);
    const last = resizeWithPad(first(of('preprocess_hwc.in')), [28, 28])
      .mul(2)
      .sub(1);
    expect(far(last, first(of('preprocess_hwc.out_present')))).toBeLessThan(4e-6);
  });
});

describe('resizeWithPad', () => {
  test('the odd pixel goes to the bottom and the right', () => {
    const wide = resizeWithPad(full([1, 3, 2, 4], 1), [5, 4]);
    expect(wide.tolist()).toEqual([Array(3).fill([0, 1, 1, 0, 0].map((value) => Array(4).fill(value)))]);
    const tall = resizeWithPad(full([1, 4, 2], 1), [4, 5]);
    expect(tall.tolist()).toEqual([Array(4).fill([0, 1, 1, 0, 0])]);
  });

  test('padding takes the value it is given', () => {
    const padded = resizeWithPad(full([1, 2, 4], -0.5), [4, 4], { padValue: -1, range: [-1, 1] });
    expect(padded.select(1, 0).tolist()).toEqual([[-1, -1, -1, -1]]);
    expect(padded.select(1, 1).tolist()).toEqual([[-0.5, -0.5, -0.5, -0.5]]);
  });

  test('an image that has the size is left alone', () => {
    const image = full([3, 4, 4], 7);
    expect(resizeWithPad(image, [4, 4])).toBe(image);
    expect(resize(image, [4, 4])).toBe(image);
  });

  test('a line keeps one pixel', () => {
    expect(
      resizeWithPad(full([1, 1, 100], 1), [4, 4])
        .sum()
        .item(),
    ).toBe(4);
  });
});

describe('uint8', () => {
  test('is rounded, not cut', () => {
    const bytes = tensor([0, 1, 255, 254], { dtype: 'uint8', shape: [1, 2, 2] });
    const doubled = resize(bytes, [4, 4]);
    expect(doubled.dtype).toBe('uint8');
    const exact = resize(bytes.to({ dtype: 'float32' }), [4, 4]);
    expect(doubled.tolist()).toEqual(exact.round().tolist());
    const padded = resizeWithPad(bytes, [2, 4], { padValue: 9 });
    expect(padded.tolist()).toEqual([
      [
        [9, 0, 1, 9],
        [9, 255, 254, 9],
      ],
    ]);
  });
});

test('shapes and sizes are checked', () => {
  expect(() => resize(rand([4, 4]), [2, 2])).toThrow(
    'resize: expected [..., channels, height, width], got [4,4]',
  );
  expect(() => resizeWithPad(rand([3, 4, 4]), [2, 0])).toThrow(
    'resizeWithPad: expected a size [height, width] of whole numbers, got [2,0]',
  );
});
