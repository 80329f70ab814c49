import { describe, expect, it } from 'vitest';
import { decodePng, meanDifference } from '../../test/cameras.js';
import { computeStats } from '../dataset/stats.js';
import { ImageStats, sampleIndices } from './camera-tracks.js';
import { encodePng } from './png.js';

/** The same bytes every time, of no pattern. */
function noise(length: number, seed: number): Uint8Array {
  let state = seed >>> 0;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

describe('ImageStats', () => {
  it('samples as many frames as LeRobot, evenly, the first and the last among them', () => {
    expect(
      [1, 2, 99, 100, 400, 1000, 2000, 5000, 10_000, 20_000].map((n) => sampleIndices(n).length),
    ).toEqual([1, 2, 99, 100, 100, 177, 299, 594, 1000, 1681]);
    expect(sampleIndices(3)).toEqual([0, 1, 2]);
    const indices = sampleIndices(150);
    // numpy.round(numpy.linspace(0, 149, 100))
    expect(indices.slice(0, 8)).toEqual([0, 2, 3, 5, 6, 8, 9, 11]);
    expect(indices.at(-1)).toBe(149);
    expect(new Set(indices).size).toBe(100);
  });

  it.each([
    [20, 12, 1],
    [299, 10, 1],
    [10, 300, 2],
    [640, 4, 4],
  ])('equals the statistics of the thinned pixels, %i×%i', (width, height, step) => {
    const stats = new ImageStats(width, height);
    const frames = [1, 2, 3].map((seed) => noise(width * height * 3, seed));
    for (const frame of frames) stats.add(frame);
    const pixels: number[] = [];
    for (const frame of frames) {
      for (let y = 0; y < height; y += step) {
        for (let x = 0; x < width; x += step) {
          const at = (y * width + x) * 3;
          pixels.push(...frame.subarray(at, at + 3));
        }
      }
    }
    const expected = computeStats(pixels, [3], pixels.length / 3);
    const found = stats.compute();
    expect(found).toMatchObject({ shape: [3, 1, 1], count: 3 });
    for (const name of ['min', 'max', 'mean', 'std', 'q01', 'q10', 'q50', 'q90', 'q99'] as const) {
      for (let i = 0; i < 3; i++) expect(found[name]![i]).toBeCloseTo(expected[name]![i]! / 255, 12);
    }
  });
});

describe('encodePng', () => {
  it('is lossless, in the pool and out of it', async () => {
    const pictures = Array.from({ length: 40 }, (_, i) => noise(9 * 7 * 3, i));
    const pngs = await Promise.all(pictures.map((rgb) => encodePng(rgb, 9, 7)));
    pngs.forEach((png, i) => {
      const { width, height, rgb } = decodePng(png);
      expect([width, height, meanDifference(rgb, pictures[i]!)]).toEqual([9, 7, 0]);
    });
  });

  it('has let go of the picture when it returns', async () => {
    const rgb = noise(4 * 4 * 3, 1);
    const before = rgb.slice();
    const png = encodePng(rgb, 4, 4);
    rgb.fill(0);
    expect(decodePng(await png).rgb).toEqual(before);
  });
});
