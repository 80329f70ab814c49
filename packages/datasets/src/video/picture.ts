import type { Codec, CodecContext, Frame } from 'node-av/lib';
import type { FFmpeg } from './ffmpeg.js';

/** Size in pixels and rate of a video; `g` frames from one key frame to the next. */
export interface PictureOptions {
  width: number;
  height: number;
  fps: number;
  g: number;
}

/** The context of an encoder for yuv420p, not yet opened. */
export function yuv420Context(
  { av, constants }: FFmpeg,
  codec: Codec,
  options: PictureOptions,
): CodecContext {
  const context = new av.CodecContext();
  context.allocContext3(codec);
  context.width = options.width;
  context.height = options.height;
  context.pixelFormat = constants.AV_PIX_FMT_YUV420P;
  context.timeBase = new av.Rational(1, options.fps);
  context.framerate = new av.Rational(options.fps, 1);
  context.gopSize = options.g;
  context.setFlags(constants.AV_CODEC_FLAG_GLOBAL_HEADER);
  return context;
}

/** A frame with memory for its pixels. */
export function allocateFrame({ av }: FFmpeg, width: number, height: number, format: Frame['format']): Frame {
  const frame = new av.Frame();
  frame.alloc();
  frame.width = width;
  frame.height = height;
  frame.format = format;
  frame.getBuffer(0);
  return frame;
}
