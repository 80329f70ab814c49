import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { writeClip } from '../../test/video.js';
import { Demuxer } from './demuxer.js';
import { loadFFmpeg } from './ffmpeg.js';
import { nearest, PacketIndex } from './packet-index.js';

const unit = { num: 1, den: 10 };
/** Packets by presentation time; `K` marks key frames. */
const packets = (...times: [number, 'K'?][]) =>
  times.map(([pts, key], dts) => ({ pts, dts, key: key === 'K', shown: pts >= 0 }));

describe('PacketIndex', () => {
  it('numbers frames in the order of showing', () => {
    const index = new PacketIndex(packets([0, 'K'], [3], [1], [2], [4, 'K']), unit);
    expect([...index.packetOf]).toEqual([0, 2, 3, 1, 4]);
    expect([...index.timestamps]).toEqual([0, 0.1, 0.2, 0.3, 0.4]);
    expect([0, 1, 2, 3, 4, 5].map((pts) => index.find(pts))).toEqual([0, 2, 3, 1, 4, -1]);
  });

  it('decodes frames shown before a key frame from the key frame before it', () => {
    const index = new PacketIndex(packets([0, 'K'], [1], [4, 'K'], [2], [3], [5]), unit);
    expect([0, 1, 2, 3, 4, 5].map((packet) => index.keyFor(packet))).toEqual([0, 0, 2, 0, 0, 2]);
  });

  it('does not count frames that are decoded but not shown', () => {
    const index = new PacketIndex(packets([-2, 'K'], [-1], [0], [1]), unit);
    expect([index.packets, index.frames, index.keyFor(index.packetOf[0]!)]).toEqual([4, 2, 0]);
  });

  it('knows the reordering of a real file', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'craft-video-'));
    try {
      const path = join(folder, 'clip.mp4');
      await writeClip(path, { frames: 24, gop: 12, bFrames: 3, options: { preset: 'fast' } });
      const demuxer = new Demuxer(path, await loadFFmpeg());
      const order = [...demuxer.index.packetOf];
      demuxer.close();
      expect(order).not.toEqual(order.toSorted((a, b) => a - b));
      expect(order.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 24 }, (_, i) => i));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

it('nearest finds what a search through everything finds, the earlier of two', () => {
  const grid = fc.integer({ min: -20, max: 20 }).map((n) => n / 2);
  fc.assert(
    fc.property(fc.uniqueArray(grid, { minLength: 1 }), grid, (values, value) => {
      const sorted = Float64Array.from(values).sort();
      const best = sorted.reduce(
        (a, x, i) => (Math.abs(x - value) < Math.abs(sorted[a]! - value) ? i : a),
        0,
      );
      expect(nearest(sorted, value)).toBe(best);
    }),
  );
  expect(nearest(new Float64Array(), 1)).toBe(-1);
});
