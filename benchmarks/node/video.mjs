// One side of video: frames per second to RGB. Usage: video.mjs THREADS FOLDER
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as av from 'node-av/lib';
import {
  DiskFrameCache,
  MemoryFrameCache,
  VideoPool,
  VideoReader,
} from '../../packages/datasets/dist/video/index.js';

const [threads, folder] = [Number(process.argv[2]), process.argv[3]];
const REQUESTS = 240;
const BATCH = 8;

const files = readdirSync(folder).sort();
const readers = [];
for (const file of files) readers.push(await VideoReader.open(join(folder, file), { threads }));
const into = new Uint8Array(new SharedArrayBuffer(BATCH * readers[0].frameBytes));

// The same positions as on the Python side: a linear congruential generator.
let state = 1;
const next = (n) => {
  state = (state * 48271) % 2147483647;
  return state % n;
};

function measure(work) {
  const start = performance.now();
  const frames = work();
  return (frames / (performance.now() - start)) * 1000;
}

function random(batch) {
  return measure(() => {
    for (let i = 0; i < REQUESTS; i += batch) {
      const reader = readers[next(readers.length)];
      const times = Array.from({ length: batch }, () => next(reader.frames) / reader.fps);
      reader.framesAt(times, { into });
    }
    return REQUESTS;
  });
}

function sequential() {
  return measure(() => {
    for (let i = 0; i < readers[0].frames; i++) readers[0].framesAt([i / readers[0].fps], { into });
    return readers[0].frames;
  });
}

/** FFmpeg alone: decodes a file from beginning to end and converts the frames, nothing else. */
function raw() {
  const input = new av.FormatContext();
  input.openInputSync(join(folder, files[0]), null, null);
  const { codecpar } = input.streams[0];
  const codec = av.Codec.findDecoder(codecpar.codecId);
  const decoder = new av.CodecContext();
  decoder.allocContext3(codec);
  decoder.parametersToContext(codecpar);
  decoder.threadCount = threads;
  decoder.open2Sync(codec, null);
  const [packet, frame, rgb] = [new av.Packet(), new av.Frame(), new av.Frame()];
  packet.alloc();
  frame.alloc();
  rgb.alloc();
  Object.assign(rgb, {
    width: codecpar.width,
    height: codecpar.height,
    format: av.avGetPixFmtFromName('rgb24'),
  });
  rgb.getBuffer(0);
  const scale = new av.SoftwareScaleContext();
  scale.allocContext();
  return measure(() => {
    let frames = 0;
    const take = () => {
      for (; decoder.receiveFrameSync(frame) >= 0; frames++) scale.scaleFrameSync(rgb, frame);
    };
    while (input.readFrameSync(packet) >= 0) {
      decoder.sendPacketSync(packet);
      packet.unref();
      take();
    }
    decoder.sendPacketSync(null);
    take();
    return frames;
  });
}

/** Random frames of one file, each read once before: what --dataset.frame_cache gives from the second epoch on. */
async function kept(cache) {
  const pool = new VideoPool({ cache });
  const path = join(folder, files[0]);
  const some = Array.from({ length: REQUESTS / 2 }, (_, i) => i % readers[0].frames);
  for (const frame of some) await pool.framesAt(path, [frame / readers[0].fps], { into });
  const start = performance.now();
  for (let i = 0; i < REQUESTS; i++) {
    await pool.framesAt(path, [some[next(some.length)] / readers[0].fps], { into });
  }
  const rate = (REQUESTS / (performance.now() - start)) * 1000;
  pool.close();
  return rate;
}

random(1); // warms every decoder
const onDisk = mkdtempSync(join(tmpdir(), 'craft-bench-'));
const figures = {
  random: random(1),
  [`random_${BATCH}`]: random(BATCH),
  sequential: sequential(),
  raw: raw(),
  kept_memory: await kept(new MemoryFrameCache(2 ** 30)),
  kept_disk: await kept(new DiskFrameCache(onDisk)),
};
rmSync(onDisk, { recursive: true });
console.log(JSON.stringify(figures));
