import { rand, stack } from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import { Xoshiro128 } from '../../../datasets/src/dataset/random.js';
import { changeImage, drawWeighted, type ImageChange, ImageTransforms } from './image-transforms.js';
import { type ImageTransformsConfig, imageTransformsConfigSchema } from './transform-config.js';

const configure = (changes: object = {}): ImageTransformsConfig =>
  imageTransformsConfigSchema.parse({ enable: true, ...changes });
const SIZE = [240, 320] as const;
const TOP = 'observation.images.top';
const WRIST = 'observation.images.wrist';
const range = (count: number) => Array.from({ length: count }, (_, i) => i);

describe('draws', () => {
  test('as many as max_num_transforms, each at most once, in order, in their ranges', () => {
    const transforms = new ImageTransforms(configure(), 7);
    const order = ['brightness', 'contrast', 'saturation', 'hue', 'sharpness', 'affine'];
    const limits: Record<string, [number, number]> = {
      brightness: [0.8, 1.2],
      contrast: [0.8, 1.2],
      saturation: [0.5, 1.5],
      hue: [-0.05, 0.05],
      sharpness: [0.5, 1.5],
    };
    const seen = new Map<string, number>();
    const strange: ImageChange[] = [];
    for (const sample of range(2000)) {
      const changes = transforms.draw(TOP, sample, SIZE);
      const places = changes.map(({ op }) => order.indexOf(op));
      const ordered = places.every((place, i) => i === 0 || places[i - 1]! < place);
      if (!ordered || changes.length !== 3) strange.push(...changes);
      for (const change of changes) {
        seen.set(change.op, (seen.get(change.op) ?? 0) + 1);
        if (change.op === 'affine') {
          const { angle, translate, scale, shear } = change;
          const [right, down] = translate;
          const fits = Math.abs(angle) <= 5 && Math.abs(right) <= 16 && Math.abs(down) <= 12;
          const whole = Number.isInteger(right) && Number.isInteger(down);
          if (!fits || !whole || scale !== 1 || shear.some((turn) => turn !== 0)) strange.push(change);
        } else {
          const [low, high] = limits[change.op]!;
          if (change.factor < low || change.factor > high) strange.push(change);
        }
      }
    }
    expect(strange).toEqual([]);
    // Half of 2000 each, four standard deviations either way.
    for (const op of order) expect(Math.abs(seen.get(op)! - 1000)).toBeLessThan(90);
  });

  test('depend on seed, camera and sample alone', () => {
    const one = new ImageTransforms(configure(), 7);
    const other = new ImageTransforms(configure(), 7);
    const forward = range(20).map((sample) => one.draw(TOP, sample, SIZE));
    other.draw(WRIST, 3, SIZE);
    const backward = range(20).map((sample) => other.draw(TOP, 19 - sample, SIZE));
    expect(backward.reverse()).toEqual(forward);
    expect(one.draw(WRIST, 0, SIZE)).not.toEqual(forward[0]);
    expect(forward[1]).not.toEqual(forward[0]);
    expect(new ImageTransforms(configure(), 8).draw(TOP, 0, SIZE)).not.toEqual(forward[0]);
  });

  test('weights without replacement', () => {
    const random = new Xoshiro128(1, 0);
    const firsts = [0, 0, 0];
    const pairs = new Map<string, number>();
    for (let i = 0; i < 6000; i++) {
      const drawn = drawWeighted([1, 2, 3], 2, random);
      firsts[drawn[0]!]!++;
      pairs.set(drawn.join(), (pairs.get(drawn.join()) ?? 0) + 1);
    }
    [1000, 2000, 3000].forEach((expected, i) => {
      expect(Math.abs(firsts[i]! - expected)).toBeLessThan(160);
    });
    // First 2 (3 in 6), then 1 (2 in the remaining 3).
    expect(Math.abs(pairs.get('2,1')! - 2000)).toBeLessThan(160);
    expect(pairs.has('1,1')).toBe(false);
  });

  test('a weight of 0 is never drawn', () => {
    const { tfs } = configure();
    tfs.hue = { ...tfs.hue!, weight: 0 };
    const transforms = new ImageTransforms(configure({ tfs, max_num_transforms: 9 }), 0);
    const ops = range(50).flatMap((sample) => transforms.draw(TOP, sample, SIZE).map(({ op }) => op));
    expect(new Set(ops).size).toBe(5);
    expect(ops).not.toContain('hue');
  });

  test('random order', () => {
    const transforms = new ImageTransforms(configure({ random_order: true, max_num_transforms: 6 }), 0);
    const orders = range(30).map((sample) =>
      transforms
        .draw(TOP, sample, SIZE)
        .map(({ op }) => op)
        .join(),
    );
    expect(new Set(orders).size).toBeGreaterThan(20);
  });

  test('one ColorJitter with several ranges draws them in random order', () => {
    const tfs = { all: { type: 'ColorJitter', kwargs: { brightness: 0.2, hue: 0.1, contrast: [1, 1] } } };
    const transforms = new ImageTransforms(configure({ tfs }), 0);
    const orders = range(20).map((sample) =>
      transforms
        .draw(TOP, sample, SIZE)
        .map(({ op }) => op)
        .join(),
    );
    expect(new Set(orders)).toEqual(new Set(['brightness,hue', 'hue,brightness']));
  });
});

describe('apply', () => {
  const images = rand([4, 3, 12, 16]);

  test('each sample gets its own draw', () => {
    const transforms = new ImageTransforms(configure(), 7);
    const samples = [40, 41, 42, 43];
    const one = (row: number) =>
      transforms.draw(TOP, samples[row]!, [12, 16]).reduce(changeImage, images.select(0, row));
    const expected = stack(range(4).map(one));
    expect(transforms.apply(images, TOP, samples).tolist()).toEqual(expected.tolist());
    const second = transforms.apply(images.narrow(0, 2, 2), TOP, [42, 43]);
    expect(second.tolist()).toEqual(expected.narrow(0, 2, 2).tolist());
  });

  test('frames of a window share a draw', () => {
    const transforms = new ImageTransforms(
      configure({ tfs: { light: { type: 'ColorJitter', kwargs: { brightness: [0.5, 0.6] } } } }),
      7,
    );
    const window = transforms.apply(images.unsqueeze(0), TOP, [5]);
    const alone = transforms.apply(images.narrow(0, 2, 1), TOP, [5]);
    expect(window.select(1, 2).tolist()).toEqual(alone.tolist());
  });

  test('a batch needs a number for each sample', () => {
    const transforms = new ImageTransforms(configure(), 7);
    expect(() => transforms.apply(images, TOP, [0, 1])).toThrow(
      'image transforms of observation.images.top: expected a batch of 2 images, got [4,3,12,16]',
    );
  });

  test('off is off', () => {
    const transforms = new ImageTransforms(configure({ enable: false }), 7);
    expect(transforms.enabled).toBe(false);
    expect(transforms.apply(images, TOP, [0, 1, 2, 3])).toBe(images);
    expect(new ImageTransforms(configure({ tfs: {} }), 7).enabled).toBe(false);
  });
});
