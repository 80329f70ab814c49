import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { numberIn, writeClip } from '../../test/video.js';
import { DiskFrameCache, MemoryFrameCache } from './frame-cache.js';
import type { Frames } from './image.js';
import { VideoPool } from './pool.js';
import { VideoReader } from './reader.js';

const folder = mkdtempSync(join(tmpdir(), 'craft-video-'));
const paths = [0, 1, 2, 3].map((i) => join(folder, `${i}.mp4`));
beforeAll(async () => {
  for (const [i, path] of paths.entries()) await writeClip(path, { firstNumber: 100 * i, gop: 2 });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => vi.restoreAllMocks());

function numbers({ rgb, width, height }: Frames): number[] {
  const bytes = width * height * 3;
  return Array.from({ length: rgb.length / bytes }, (_, i) => numberIn(rgb, width, height, i * bytes));
}
const at = (...frames: number[]) => frames.map((frame) => frame / 30);

describe('VideoPool', () => {
  it('reads many videos with few open', async () => {
    using pool = new VideoPool({ maxOpen: 2 });
    const order = [0, 1, 2, 3, 0, 0, 2, 1];
    const results = await Promise.all(order.map((i) => pool.framesAt(paths[i]!, at(7, 3))));
    expect(results.map(numbers)).toEqual(order.map((i) => [100 * i + 7, 100 * i + 3]));
    expect(pool.open).toBe(2);
  });

  it('writes into shared memory', async () => {
    using pool = new VideoPool();
    const { width, height } = await pool.describe(paths[1]!);
    const bytes = width * height * 3;
    const into = new Uint8Array(new SharedArrayBuffer(4 * bytes));
    await pool.framesAt(paths[1]!, at(5, 6), { into, offset: bytes });
    expect(numbers({ rgb: into, width, height })).toEqual([0, 105, 106, 0]);
  });

  it('goes on after a failure', async () => {
    using pool = new VideoPool();
    await expect(pool.framesAt(join(folder, 'absent.mp4'), [0])).rejects.toMatchObject({
      code: 'VIDEO_MISSING',
    });
    await expect(pool.framesAt(paths[0]!, [99])).rejects.toMatchObject({ code: 'VIDEO_TIMESTAMP' });
    expect(numbers(await pool.framesAt(paths[0]!, at(9)))).toEqual([9]);
  });

  it('finds the episodes of one file by their offsets', async () => {
    // Three episodes of 7, 12 and 11 frames; offsets are sums of durations as LeRobot adds them up.
    using pool = new VideoPool();
    let from = 0;
    let first = 0;
    for (const length of [7, 12, 11]) {
      const times = Array.from({ length }, (_, i) => from + Math.fround(i / 30));
      const expected = Array.from({ length }, (_, i) => 200 + first + i);
      expect(numbers(await pool.framesAt(paths[2]!, times))).toEqual(expected);
      from += length / 30;
      first += length;
    }
  });
});

describe.each(['memory', 'disk'])('frames kept %s', (kind) => {
  let made = 0;
  const cache = (where = join(folder, `cache-${made++}`)) =>
    kind === 'memory' ? new MemoryFrameCache(2 ** 30) : new DiskFrameCache(where);

  it('are the same, and are decoded once', async () => {
    using pool = new VideoPool({ cache: cache() });
    const decode = vi.spyOn(VideoReader.prototype, 'framesByNumber');
    const first = await pool.framesAt(paths[1]!, at(4, 9, 4));
    expect(numbers(first)).toEqual([104, 109, 104]);
    expect(numbers(await pool.framesAt(paths[1]!, at(9, 5, 4)))).toEqual([109, 105, 104]);
    expect(await pool.framesAt(paths[1]!, at(4, 9, 4))).toEqual(first);
    expect(decode.mock.calls.map(([frames]) => [...(frames as number[])])).toEqual([[4, 9, 4], [5]]);
  });

  it('still obey the tolerance', async () => {
    using pool = new VideoPool({ cache: cache() });
    await pool.framesAt(paths[1]!, at(4));
    await expect(pool.framesAt(paths[1]!, [0.14])).rejects.toMatchObject({ code: 'VIDEO_TIMESTAMP' });
  });

  it('are forgotten when the video changes', async () => {
    const path = join(folder, `changing-${kind}.mp4`);
    const where = cache();
    writeFileSync(path, readFileSync(paths[0]!));
    {
      using pool = new VideoPool();
      expect(numbers(await pool.framesAt(path, at(3)))).toEqual([3]);
    }
    const videos = [paths[0]!, paths[3]!];
    for (const [i, source] of videos.entries()) {
      writeFileSync(path, readFileSync(source));
      utimesSync(path, 1000 + i, 1000 + i);
      const pool = new VideoPool({ cache: where });
      expect(numbers(await pool.framesAt(path, at(3)))).toEqual([[3], [303]][i]);
      await pool.framesAt(path, at(3));
    }
    where.close();
  });
});

it('MemoryFrameCache stays within its bytes', async () => {
  const cache = new MemoryFrameCache(5 * 96 * 64 * 3);
  using pool = new VideoPool({ cache });
  for (let i = 0; i < 30; i++) expect(numbers(await pool.framesAt(paths[0]!, at(i)))).toEqual([i]);
  expect(cache.bytes).toBe(5 * 96 * 64 * 3);
  const decode = vi.spyOn(VideoReader.prototype, 'framesByNumber');
  await pool.framesAt(paths[0]!, at(29, 25));
  expect(decode).not.toHaveBeenCalled();
});

describe('DiskFrameCache', () => {
  it('serves another process without decoding or opening the video', async () => {
    const where = join(folder, 'shared');
    {
      using pool = new VideoPool({ cache: new DiskFrameCache(where) });
      await pool.framesAt(paths[1]!, at(1, 2, 3));
    }
    expect(readdirSync(where)).toHaveLength(1);
    const open = vi.spyOn(VideoReader, 'open');
    using pool = new VideoPool({ cache: new DiskFrameCache(where) });
    expect(numbers(await pool.framesAt(paths[1]!, at(3, 1)))).toEqual([103, 101]);
    expect(open).not.toHaveBeenCalled();
  });

  it('decodes again what was written in half or is not what it says', async () => {
    const where = join(folder, 'damaged');
    {
      using pool = new VideoPool({ cache: new DiskFrameCache(where) });
      await pool.framesAt(paths[1]!, at(0, 29));
    }
    const name = join(where, readdirSync(where)[0]!);
    const bytes = readFileSync(name);
    bytes[bytes.length - 10]! ^= 0xff;
    writeFileSync(name, bytes);
    {
      using pool = new VideoPool({ cache: new DiskFrameCache(where) });
      expect(numbers(await pool.framesAt(paths[1]!, at(29, 0)))).toEqual([129, 100]);
    }
    for (const content of ['', 'x'.repeat(9000), bytes.subarray(0, 5000)]) {
      writeFileSync(name, content);
      using pool = new VideoPool({ cache: new DiskFrameCache(where) });
      expect(numbers(await pool.framesAt(paths[1]!, at(29, 0)))).toEqual([129, 100]);
    }
  });

  it('goes on without keeping frames where it cannot write, with one warning', async () => {
    const where = join(folder, 'a file');
    appendFileSync(where, 'x');
    const warnings: string[] = [];
    using pool = new VideoPool({ cache: new DiskFrameCache(where, (message) => warnings.push(message)) });
    for (const path of [paths[0]!, paths[1]!, paths[0]!]) await pool.framesAt(path, at(2));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(where);
  });

  it('takes no more disk than its frames', async () => {
    const where = join(folder, 'sparse');
    using pool = new VideoPool({ cache: new DiskFrameCache(where) });
    await pool.framesAt(paths[0]!, at(5));
    const { size, blocks } = statSync(join(where, readdirSync(where)[0]!));
    expect(size).toBe(8192 - 4096 + 4096 + 30 * 96 * 64 * 3);
    expect(blocks * 512).toBeLessThan(4 * 96 * 64 * 3);
  });
});
