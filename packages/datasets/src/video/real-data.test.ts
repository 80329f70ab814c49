import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { shared, sharedPath } from '../../../torch/test/shared.js';
import { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import { loadFFmpeg } from './ffmpeg.js';
import { VideoPool } from './pool.js';
import { VideoReader } from './reader.js';

/** Every frame of a file as FFmpeg outputs it when it reads from beginning to end and converts the frames itself. */
async function sequential(path: string): Promise<Uint8Array[]> {
  const { av, constants } = await loadFFmpeg();
  const context = new av.FormatContext();
  context.openInputSync(path, null, null);
  context.findStreamInfoSync(null);
  const { codecpar } = context.streams[0]!;
  const codec = av.Codec.findDecoder(codecpar.codecId)!;
  const decoder = new av.CodecContext();
  decoder.allocContext3(codec);
  decoder.parametersToContext(codecpar);
  decoder.open2Sync(codec, null);
  const scale = new av.SoftwareScaleContext();
  const { width, height } = codecpar;
  const rgb24 = constants.AV_PIX_FMT_RGB24;
  scale.getContext(width, height, constants.AV_PIX_FMT_YUV420P, width, height, rgb24, constants.SWS_BILINEAR);
  const packet = new av.Packet();
  packet.alloc();
  const frame = new av.Frame();
  frame.alloc();
  const frames: Uint8Array[] = [];
  const take = () => {
    while (decoder.receiveFrameSync(frame) >= 0) {
      const rgb = Buffer.alloc(width * height * 3);
      scale.scaleSync(frame.data!, frame.linesize, 0, height, [rgb], [width * 3]);
      frames.push(rgb);
    }
  };
  while (context.readFrameSync(packet) >= 0) {
    decoder.sendPacketSync(packet);
    packet.unref();
    take();
  }
  decoder.sendPacketSync(null);
  take();
  return frames;
}

const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

describe.skipIf(shared === null)('videos of a G1 robot', () => {
  const root = sharedPath('data', 'g1_yellow_bottle');

  it('give every frame as a sequential decode does, at random and in batches', async () => {
    const folder = `${root}/videos/chunk-000/observation.images.cam_high`;
    const path = `${folder}/${readdirSync(folder)[0]}`;
    const expected = await sequential(path);
    using video = await VideoReader.open(path, { threads: 2 });
    expect([video.width, video.height, video.codec, video.frames]).toEqual([
      640,
      480,
      'av1',
      expected.length,
    ]);
    expect(video.fps).toBeCloseTo(30, 9);
    // 7 has no factor in common with the number of frames, so this visits each once, never two in a row.
    const order = Array.from(expected, (_, i) => (i * 7) % expected.length);
    expect(new Set(order).size).toBe(expected.length);
    for (let at = 0; at < order.length; at += 5) {
      const some = order.slice(at, at + 5);
      const rgb = video.framesAt(some.map((i) => i / 30));
      some.forEach((frame, i) => {
        const got = rgb.subarray(i * video.frameBytes, (i + 1) * video.frameBytes);
        expect(same(got, expected[frame]!), `frame ${frame}`).toBe(true);
      });
    }
    const out = new Uint8Array(video.frameBytes);
    for (let i = 0; i < expected.length; i++) {
      expect(same(video.framesByNumber([i], { into: out }), expected[i]!), `frame ${i}`).toBe(true);
    }
  });

  it('have a frame for every row of every episode', async () => {
    const metadata = await LeRobotDatasetMetadata.load(root);
    using pool = new VideoPool({ maxOpen: 3 });
    let found = 0;
    for (const episode of metadata.episodes) {
      const path = metadata.videoPath(episode, 'observation.images.cam_high');
      const video = await pool.describe(path).catch(() => undefined);
      if (video === undefined) continue;
      found++;
      expect(video.timestamps.length).toBe(episode.length);
      await pool.framesAt(path, [0, Math.fround((episode.length - 1) / metadata.fps)]);
    }
    expect(found).toBe(10);
  });

  it('take no more memory after 500 jumps than after 100', async () => {
    const folder = `${root}/videos/chunk-000/observation.images.cam_high`;
    const paths = readdirSync(folder).map((name) => `${folder}/${name}`);
    using pool = new VideoPool({ maxOpen: 3 });
    const { width, height } = await pool.describe(paths[0]!);
    const into = new Uint8Array(width * height * 3);
    let before = 0;
    for (let i = 0; i < 500; i++) {
      await pool.framesAt(paths[(i * 3) % paths.length]!, [((i * 53) % 200) / 30], { into });
      if (i === 99) before = process.memoryUsage().rss;
    }
    expect((process.memoryUsage().rss - before) / 2 ** 20).toBeLessThan(48);
  });
});
