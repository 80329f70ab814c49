// Small videos whose every frame carries its number in its pixels, made with node-av's own encoders.
import type { FormatContext, Frame, Packet } from 'node-av/lib';
import { allocateFrame, loadFFmpeg, yuv420Context } from '../src/video/ffmpeg.js';

export interface ClipOptions {
  encoder?: 'libx264' | 'libx265' | 'libsvtav1';
  frames?: number;
  /** Multiples of 16. */
  width?: number;
  height?: number;
  fps?: number;
  /** Frames from one key frame to the next. */
  gop?: number;
  bFrames?: number;
  /** The number that the first frame carries. */
  firstNumber?: number;
  /** `faststart` puts the header first, so that a truncated file still opens. */
  faststart?: boolean;
  /** Chroma of all pixels. Default grey, 128 and 128. */
  chroma?: [u: number, v: number];
  /** Options of the encoder, such as `preset`. */
  options?: Record<string, string>;
}

const BITS = 12;

// SVT-AV1 reports on standard error otherwise.
process.env.SVT_LOG = '0';

/** Black and white bars: bit i of the number in the i-th twelfth of the width. */
function paint(frame: Frame, width: number, height: number, number: number, chroma = [128, 128]): void {
  const [y, u, v] = frame.data!;
  const stride = frame.linesize[0]!;
  for (let x = 0; x < width; x++) {
    const bit = (number >> Math.floor((x * BITS) / width)) & 1;
    for (let row = 0; row < height; row++) y![row * stride + x] = bit === 1 ? 235 : 16;
  }
  u!.fill(chroma[0]!);
  v!.fill(chroma[1]!);
}

/** The number that an RGB frame carries. */
export function numberIn(rgb: Uint8Array, width: number, height: number, at = 0): number {
  let number = 0;
  for (let bit = 0; bit < BITS; bit++) {
    const x = Math.floor(((bit + 0.5) * width) / BITS);
    if (rgb[at + ((height >> 1) * width + x) * 3]! > 127) number |= 1 << bit;
  }
  return number;
}

function check(code: number, what: string): number {
  if (code < 0) throw new Error(`${what}: FFmpeg error ${code}`);
  return code;
}

/** Writes a clip to `path`, an MP4 file. */
export async function writeClip(path: string, clip: ClipOptions = {}): Promise<void> {
  const { encoder = 'libx264', frames = 30, width = 96, height = 64, fps = 30, gop = 10 } = clip;
  const ffmpeg = await loadFFmpeg();
  const { av, constants } = ffmpeg;
  const codec = av.Codec.findEncoderByName(encoder as Parameters<typeof av.Codec.findEncoderByName>[0]);
  if (codec === null) throw new Error(`no encoder ${encoder}`);
  const context = yuv420Context(ffmpeg, codec, { width, height, fps, g: gop });
  context.threadCount = 1;
  if (clip.bFrames !== undefined) context.maxBFrames = clip.bFrames;
  const defaults = { libx264: 'ultrafast', libx265: 'ultrafast', libsvtav1: '12' };
  const silent = encoder === 'libx265' ? { 'x265-params': 'log-level=none' } : {};
  const options = { preset: defaults[encoder], ...silent, ...clip.options };
  // One by one: a Dictionary given to open2 is freed twice by node-av 6.1.
  for (const [option, value] of Object.entries(options)) {
    check(
      context.setOption(option, value, constants.AV_OPT_TYPE_STRING, constants.AV_OPT_SEARCH_CHILDREN),
      option,
    );
  }
  check(context.open2Sync(codec, null), encoder);

  const output: FormatContext = new av.FormatContext();
  check(output.allocOutputContext2(null, 'mp4', path), path);
  const stream = output.newStream(null);
  check(stream.codecpar.fromContext(context), 'parameters');
  stream.timeBase = new av.Rational(1, fps);
  stream.avgFrameRate = new av.Rational(fps, 1);
  check(output.openOutputSync(), path);
  const muxing = clip.faststart === true ? av.Dictionary.fromObject({ movflags: 'faststart' }) : null;
  check(output.writeHeaderSync(muxing), 'header');

  const packet: Packet = new av.Packet();
  packet.alloc();
  const frame = allocateFrame(ffmpeg, width, height, constants.AV_PIX_FMT_YUV420P);
  const writePackets = () => {
    while (context.receivePacketSync(packet) >= 0) {
      packet.streamIndex = 0;
      packet.duration = 1n;
      packet.rescaleTs(new av.Rational(1, fps), stream.timeBase);
      check(output.interleavedWriteFrameSync(packet), 'packet');
    }
  };
  for (let i = 0; i < frames; i++) {
    check(frame.makeWritable(), 'frame');
    paint(frame, width, height, (clip.firstNumber ?? 0) + i, clip.chroma);
    frame.pts = BigInt(i);
    check(context.sendFrameSync(frame), 'encode');
    writePackets();
  }
  context.sendFrameSync(null);
  writePackets();
  check(output.writeTrailerSync(), 'trailer');
  output.closeOutputSync();
  output.freeContext();
  context.freeContext();
  packet.free();
  frame.free();
}
