import { CraftError, full, memory, rand, scope, type Tensor, tensor } from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import { affine } from './affine.js';
import {
  adjustBrightness,
  adjustContrast,
  adjustHue,
  adjustSaturation,
  adjustSharpness,
  grayscale,
} from './color.js';

const values = (x: Tensor) => [...(x.toTypedArray() as Float32Array)];
const far = (x: Tensor, y: Tensor) => x.sub(y).abs().max().item();
const clamp = (x: number) => Math.min(1, Math.max(0, x));

const [height, width] = [5, 6];
const image = rand([2, 3, height, width]);
const pixels = values(image);
const at = (data: number[], b: number, c: number, y: number, x: number) =>
  data[((b * 3 + c) * height + y) * width + x]!;

/** Checks every value of a result against a formula of its own pixel. */
function expectPixels(result: Tensor, formula: (b: number, c: number, y: number, x: number) => number): void {
  const found = values(result);
  for (let i = 0; i < found.length; i++) {
    const x = i % width;
    const y = Math.floor(i / width) % height;
    const c = Math.floor(i / (width * height)) % 3;
    const b = Math.floor(i / (width * height * 3));
    expect(Math.abs(found[i]! - formula(b, c, y, x))).toBeLessThan(3e-6);
  }
}

const grey = (b: number, y: number, x: number) =>
  0.2989 * at(pixels, b, 0, y, x) + 0.587 * at(pixels, b, 1, y, x) + 0.114 * at(pixels, b, 2, y, x);

describe('formulas, pixel by pixel', () => {
  test('brightness', () => {
    expectPixels(adjustBrightness(image, 1.4), (b, c, y, x) => clamp(1.4 * at(pixels, b, c, y, x)));
  });

  test('contrast: the mean is each image’s own', () => {
    const means = [0, 1].map((b) => {
      let sum = 0;
      for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) sum += grey(b, y, x);
      return sum / (height * width);
    });
    expectPixels(adjustContrast(image, 0.3), (b, c, y, x) =>
      clamp(0.3 * at(pixels, b, c, y, x) + 0.7 * means[b]!),
    );
  });

  test('saturation', () => {
    expectPixels(adjustSaturation(image, 1.5), (b, c, y, x) =>
      clamp(1.5 * at(pixels, b, c, y, x) - 0.5 * grey(b, y, x)),
    );
  });

  test('sharpness', () => {
    expectPixels(adjustSharpness(image, 1.8), (b, c, y, x) => {
      if (y === 0 || x === 0 || y === height - 1 || x === width - 1) return at(pixels, b, c, y, x);
      let smooth = 4 * at(pixels, b, c, y, x);
      for (let dy = -1; dy <= 1; dy++)
        for (let dx = -1; dx <= 1; dx++) smooth += at(pixels, b, c, y + dy, x + dx);
      return clamp(1.8 * at(pixels, b, c, y, x) - (0.8 * smooth) / 13);
    });
  });

  test('hue, by the textbook’s sectors', () => {
    expectPixels(adjustHue(image, 0.2), (b, c, y, x) => {
      const [red, green, blue] = [0, 1, 2].map((i) => at(pixels, b, i, y, x)) as [number, number, number];
      const [most, least] = [Math.max(red, green, blue), Math.min(red, green, blue)];
      const range = most - least;
      const sector =
        most === red
          ? (green - blue) / range
          : most === green
            ? 2 + (blue - red) / range
            : 4 + (red - green) / range;
      const turned = (sector + 6 * 0.2 + 6) % 6;
      const part = turned - Math.floor(turned);
      const [p, q, t] = [least, most - range * part, most - range * (1 - part)];
      return [
        [most, t, p],
        [q, most, p],
        [p, most, t],
        [p, q, most],
        [t, p, most],
        [most, p, q],
      ][Math.floor(turned)]![c]!;
    });
  });

  test('affine: a shift moves pixels and leaves zeros', () => {
    expectPixels(affine(image, { angle: 0, translate: [2, -1] }), (b, c, y, x) =>
      y + 1 < height && x - 2 >= 0 ? at(pixels, b, c, y + 1, x - 2) : 0,
    );
  });
});

describe('identities', () => {
  test('neutral parameters change nothing', () => {
    for (const adjust of [adjustBrightness, adjustContrast, adjustSaturation, adjustSharpness]) {
      expect(far(adjust(image, 1), image)).toBeLessThan(1e-6);
    }
    expect(far(adjustHue(image, 0), image)).toBeLessThan(3e-6);
    expect(far(affine(image, { angle: 0 }), image)).toBe(0);
  });

  test('hue: half a turn either way is the same, twice is none; largest and smallest channel stay', () => {
    const half = adjustHue(image, 0.5);
    expect(far(half, adjustHue(image, -0.5))).toBeLessThan(3e-6);
    expect(far(adjustHue(half, 0.5), image)).toBeLessThan(5e-6);
    expect(far(half.amax([-3]), image.amax([-3]))).toBeLessThan(1e-6);
    expect(far(half.amin([-3]), image.amin([-3]))).toBeLessThan(1e-6);
  });

  test('a third of a turn makes red green', () => {
    const red = tensor([1, 0, 0], { shape: [3, 1, 1] });
    expect(far(adjustHue(red, 1 / 3), tensor([0, 1, 0], { shape: [3, 1, 1] }))).toBeLessThan(1e-6);
  });

  test('grey images have neither hue nor saturation', () => {
    const one = rand([1, 1, 4, 4]);
    const three = one.expand([1, 3, 4, 4]);
    expect(far(adjustHue(three, 0.3), three)).toBe(0);
    // The weights of the luminance add up to 0.9999.
    expect(far(adjustSaturation(three, 0.2), three)).toBeLessThan(1e-4);
    expect(adjustHue(one, 0.3)).toBe(one);
    expect(adjustSaturation(one, 0.3)).toBe(one);
    expect(grayscale(one)).toBe(one);
  });

  test('a flat image has no contrast and no sharpness', () => {
    const flat = full([1, 1, 4, 4], 0.3);
    expect(far(adjustContrast(flat, 3), flat)).toBeLessThan(1e-6);
    expect(far(adjustSharpness(flat, 5), flat)).toBeLessThan(1e-6);
  });

  test('a quarter turn of a square, and back', () => {
    const square = rand([1, 3, 8, 8]);
    const quarter = affine(square, { angle: 90 });
    expect(far(quarter, square.flip([-2]).transpose(-1, -2))).toBe(0);
    expect(far(affine(quarter, { angle: -90 }), square)).toBe(0);
  });

  test('images too small to smooth come back', () => {
    const narrow = rand([3, 2, 9]);
    expect(adjustSharpness(narrow, 2)).toBe(narrow);
  });
});

test('leading dimensions are a batch', () => {
  const windows = rand([2, 2, 3, 6, 7]);
  for (const change of [
    (x: Tensor) => adjustBrightness(x, 0.7),
    (x: Tensor) => adjustContrast(x, 0.7),
    (x: Tensor) => adjustSaturation(x, 0.7),
    (x: Tensor) => adjustHue(x, 0.1),
    (x: Tensor) => adjustSharpness(x, 0.7),
    (x: Tensor) => affine(x, { angle: 7, scale: 1.1 }),
  ]) {
    const one = change(windows.select(0, 1).select(0, 0));
    expect(far(change(windows).select(0, 1).select(0, 0), one)).toBeLessThan(1e-6);
  }
});

test('inputs stay as they are, and nothing is left behind', () => {
  const before = values(image);
  const { tensors } = memory();
  scope(() => {
    adjustHue(image, 0.1);
    adjustSharpness(image, 2);
    affine(image, { angle: 3 });
    return null;
  });
  expect(memory().tensors).toBe(tensors);
  expect(values(image)).toEqual(before);
});

describe('bad input is named', () => {
  const message = (body: () => unknown) => {
    try {
      body();
    } catch (error) {
      return error instanceof CraftError && error.code === 'IMAGE_INVALID' ? error.message : String(error);
    }
    return 'nothing was thrown';
  };

  test.each([
    [
      () => adjustBrightness(rand([2, 4, 4]), 1),
      'adjustBrightness: expected [..., 1 or 3 channels, height, width], got [2,4,4]',
    ],
    [() => adjustHue(image, 0.6), 'adjustHue: expected a factor in [-0.5, 0.5], got 0.6'],
    [() => adjustContrast(image, -1), 'adjustContrast: expected a factor of at least 0, got -1'],
    [() => adjustSharpness(image, Number.NaN), 'adjustSharpness: expected a factor of at least 0, got NaN'],
    [
      () => adjustSaturation(image.to({ dtype: 'uint8' }), 1),
      'adjustSaturation: expected float values, got uint8; see toFloat',
    ],
    [() => affine(image, { angle: 0, scale: 0 }), 'affine: expected a scale above 0, got 0'],
  ])('%#', (body, expected) => {
    expect(message(body)).toBe(expected);
  });
});
