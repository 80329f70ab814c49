import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ClipOptions, numberIn, writeClip } from '../../test/video.js';
import { VideoReader } from './reader.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'craft-video-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const clips: Record<string, ClipOptions> = {
  'H.264 with B-frames': { encoder: 'libx264', frames: 75, gop: 12, bFrames: 3, options: { preset: 'fast' } },
  'H.264, key frame every 2': { encoder: 'libx264', frames: 40, gop: 2 },
  'H.264 with open groups of pictures': {
    encoder: 'libx264',
    frames: 60,
    gop: 10,
    bFrames: 3,
    options: { preset: 'fast', 'x264-params': 'open-gop=1:b-pyramid=normal:keyint=10:min-keyint=10' },
  },
  'HEVC with B-frames and open groups': {
    encoder: 'libx265',
    frames: 60,
    gop: 10,
    bFrames: 3,
    options: { preset: 'fast', 'x265-params': 'log-level=none:keyint=10:min-keyint=10:open-gop=1' },
  },
  'AV1, key frame every 2': { encoder: 'libsvtav1', frames: 40, gop: 2 },
  'AV1, long groups': { encoder: 'libsvtav1', frames: 70, gop: 16 },
};

/** Numbers in 0…n-1, the same ones every time. */
function arbitrary(n: number, count: number): number[] {
  let state = 12345;
  return Array.from({ length: count }, () => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * n);
  });
}

describe.each(Object.entries(clips))('%s', (name, clip) => {
  const frames = clip.frames!;
  let path: string;
  beforeAll(async () => {
    path = join(folder, `${name}.mp4`);
    await writeClip(path, clip);
  });
  const numbers = (video: VideoReader, rgb: Uint8Array): number[] =>
    Array.from({ length: rgb.length / video.frameBytes }, (_, i) =>
      numberIn(rgb, video.width, video.height, i * video.frameBytes),
    );

  it('describes itself', async () => {
    using video = await VideoReader.open(path);
    expect([video.width, video.height, video.frames]).toEqual([96, 64, frames]);
    expect(video.fps).toBeCloseTo(30, 6);
    expect(video.duration).toBeCloseTo(frames / 30, 6);
    expect(['h264', 'hevc', 'av1']).toContain(video.codec);
    expect(video.timestamps[0]).toBe(0);
  });

  it.each([1, 3])(
    'finds every frame, one by one, backwards and at random, with %i threads',
    async (threads) => {
      using video = await VideoReader.open(path, { threads });
      const all = Array.from({ length: frames }, (_, i) => i);
      for (const order of [all, all.toReversed(), arbitrary(frames, 60)]) {
        for (const i of order) expect(numbers(video, video.framesAt([i / 30]))).toEqual([i]);
      }
    },
  );

  it.each([1, 3])('serves several at once in any order, repeats too, with %i threads', async (threads) => {
    using video = await VideoReader.open(path, { threads });
    const asked = arbitrary(frames, 96);
    for (let at = 0; at < asked.length; at += 8) {
      const some = asked.slice(at, at + 8);
      expect(numbers(video, video.framesAt(some.map((i) => i / 30)))).toEqual(some);
      const run = Array.from({ length: 4 }, (_, i) => (some[0]! + i) % frames);
      expect(numbers(video, video.framesByNumber(run))).toEqual(run);
    }
    const all = Array.from({ length: frames }, (_, i) => i);
    expect(numbers(video, video.framesByNumber(all))).toEqual(all);
  });
});

// Luma 16 (frame 0 is all black), U 110, V 150; red, green and blue by the matrices of BT.601 and BT.709, limited range.
const chroma: [number, number] = [110, 150];
it.each([
  ['untagged', {}, [35, 0, 0]],
  ['BT.709', { colorspace: 'bt709', color_range: 'tv' }, [39, 0, 0]],
  ['BT.601', { colorspace: 'smpte170m', color_range: 'tv' }, [35, 0, 0]],
  ['full range', { colorspace: 'smpte170m', color_range: 'pc' }, [47, 6, 0]],
] as const)('converts by the colours that the file is tagged with: %s', async (name, options, expected) => {
  const path = join(folder, `colours ${name}.mp4`);
  await writeClip(path, { frames: 2, chroma, options: { ...options, crf: '1' } });
  using video = await VideoReader.open(path);
  const rgb = video.framesByNumber([0]);
  const middle = (video.height / 2) * video.width * 3 + 150;
  for (const [i, value] of expected.entries())
    expect(Math.abs(rgb[middle + i]! - value)).toBeLessThanOrEqual(2);
});
