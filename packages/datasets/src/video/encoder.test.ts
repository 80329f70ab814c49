import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { expectCraftError } from '../../test/datasets.js';
import { VideoEncoder } from './encoder.js';
import { concatenateVideos } from './mp4.js';
import { VideoReader } from './reader.js';

const folder = mkdtempSync(join(tmpdir(), 'craft-encoder-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const width = 48;
const height = 32;

/** A smooth picture that differs from frame to frame. */
function picture(frame: number): Uint8Array {
  const rgb = new Uint8Array(height * width * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      rgb.set([40 + 3 * x, 60 + 4 * y, (frame * 20) % 256], (y * width + x) * 3);
    }
  }
  return rgb;
}

async function encode(name: string, first: number, frames: number, codec: 'av1' | 'h264'): Promise<string> {
  const path = join(folder, name);
  const encoder = VideoEncoder.create(path, { width, height, fps: 10, codec });
  for (let i = 0; i < frames; i++) encoder.add(picture(first + i));
  await encoder.finish();
  return path;
}

function meanDifference(a: Uint8Array, b: Uint8Array): number {
  return a.reduce((sum, x, i) => sum + Math.abs(x - b[i]!), 0) / a.length;
}

/** Scheduling policies of this process's threads: field 41 of proc(5)'s stat; 0 is the ordinary one. */
function policies(): Set<string> {
  const threads = readdirSync('/proc/self/task');
  const stats = threads.map((thread) => readFileSync(`/proc/self/task/${thread}/stat`, 'utf8'));
  return new Set(stats.map((stat) => stat.slice(stat.lastIndexOf(')') + 2).split(' ')[38]!));
}

// SVT-AV1 takes real-time priority where it may: as root.
it.runIf(process.platform === 'linux')('leaves no thread with a real-time priority', () => {
  expect(policies()).toEqual(new Set(['0']));
  const encoder = VideoEncoder.create(join(folder, 'priority.mp4'), { width, height, fps: 10, codec: 'av1' });
  expect(policies()).toEqual(new Set(['0']));
  encoder.abort();
});

describe.each(['av1', 'h264'] as const)('VideoEncoder, %s', (codec) => {
  it('writes frames that read back within encoding error, at k/fps', async () => {
    const path = await encode(`one-${codec}.mp4`, 0, 9, codec);
    using video = await VideoReader.open(path);
    expect(video).toMatchObject({ width, height, codec, frames: 9 });
    expect(video.timestamps).toEqual(Float64Array.from({ length: 9 }, (_, i) => i / 10));
    const rgb = video.framesAt([0, 0.4, 0.8]);
    [0, 4, 8].forEach((frame, i) => {
      const size = width * height * 3;
      expect(meanDifference(rgb.subarray(i * size, (i + 1) * size), picture(frame))).toBeLessThan(8);
    });
  });

  it('joins files by copying packets, each frame at k/fps', async () => {
    const parts = [
      await encode(`a-${codec}.mp4`, 0, 5, codec),
      await encode(`b-${codec}.mp4`, 5, 1, codec),
      await encode(`c-${codec}.mp4`, 6, 4, codec),
    ];
    const path = join(folder, `joined-${codec}.mp4`);
    expect(await concatenateVideos(parts, path, 10)).toBe(10);
    using video = await VideoReader.open(path);
    expect(video.timestamps).toEqual(Float64Array.from({ length: 10 }, (_, i) => i / 10));
    using last = await VideoReader.open(parts[2]!);
    expect(video.framesAt([0.8])).toEqual(last.framesAt([0.2]));
    using middle = await VideoReader.open(parts[1]!);
    expect(video.framesAt([0.5])).toEqual(middle.framesAt([0]));
  });
});

describe('VideoEncoder', () => {
  it('says what the encoder refuses', async () => {
    const create = (options: object) => () =>
      VideoEncoder.create(join(folder, 'x.mp4'), { width, height, fps: 10, ...options });
    await expectCraftError(create({ preset: 'no-such', codec: 'h264' }), 'VIDEO_ENCODER', 'x.mp4');
    await expectCraftError(create({ crf: 900 }), 'VIDEO_ENCODER', 'crf 900');
  });

  it('gives up without a trace in memory', async () => {
    const encoder = VideoEncoder.create(join(folder, 'aborted.mp4'), { width, height, fps: 10 });
    encoder.add(picture(0));
    encoder.abort();
    encoder.abort();
    expect(statSync(join(folder, 'aborted.mp4')).size).toBeGreaterThan(0);
  });

  it('throws where the file cannot be written', async () => {
    await expectCraftError(
      () => VideoEncoder.create(join(folder, 'no/such/x.mp4'), { width, height, fps: 10 }),
      'VIDEO_WRITE',
      'x.mp4',
    );
  });
});
