import { createRequire } from 'node:module';
import { CraftError } from '@craft-ft/torch/errors';
import type { Codec, CodecContext, Frame } from 'node-av/lib';

/** FFmpeg through node-av. */
export interface FFmpeg {
  readonly av: typeof import('node-av/lib');
  readonly constants: typeof import('node-av/constants');
}

let loading: Promise<FFmpeg> | undefined;

/**
 * Loads FFmpeg on first use: a run without cameras neither needs it nor pays for it.
 *
 * @throws CraftError `VIDEO_LIBRARY` if the npm package has no binary for this machine.
 */
export function loadFFmpeg(): Promise<FFmpeg> {
  loading ??= load();
  return loading;
}

async function load(): Promise<FFmpeg> {
  try {
    const [av, constants] = await Promise.all([import('node-av/lib'), import('node-av/constants')]);
    // Failures are reported as errors that name the file; FFmpeg's own lines would only clutter the terminal.
    av.Log.setLevel(constants.AV_LOG_QUIET);
    return { av, constants };
  } catch (error) {
    throw libraryError(error);
  }
}

/** `VIDEO_LIBRARY` for an error thrown while loading node-av. */
function libraryError(error: unknown): CraftError {
  const reason = (error instanceof Error ? error.message : String(error)).split('\n')[0];
  return new CraftError(
    'VIDEO_LIBRARY',
    `node-av: FFmpeg cannot be loaded on ${process.platform}-${process.arch} (${reason}); run npm install again, with optional dependencies`,
    { cause: error },
  );
}

/** FFmpeg's message for an error code, in lower case. */
export function reasonOf({ av }: FFmpeg, code: number): string {
  const text = av.FFmpegError.strerror(code);
  return text.charAt(0).toLowerCase() + text.slice(1);
}

let loaded: FFmpeg | undefined;

/**
 * FFmpeg, loaded synchronously; the same instance as `loadFFmpeg`'s. A frame passed to the writer goes to the encoder at once, so that
 * frames never pile up uncompressed.
 *
 * @throws CraftError `VIDEO_LIBRARY` if the npm package has no binary for this machine.
 */
export function loadFFmpegSync(): FFmpeg {
  if (loaded !== undefined) return loaded;
  try {
    const require = createRequire(import.meta.url);
    const av = require('node-av/lib') as FFmpeg['av'];
    const constants = require('node-av/constants') as FFmpeg['constants'];
    av.Log.setLevel(constants.AV_LOG_QUIET);
    // SVT-AV1 bypasses FFmpeg's log; it reads this variable when an encoder opens. 0: fatal errors only.
    process.env.SVT_LOG ??= '0';
    loaded = { av, constants };
    return loaded;
  } catch (error) {
    throw libraryError(error);
  }
}

/** Size in pixels and rate of a video; `g` frames from one key frame to the next. */
interface PictureOptions {
  width: number;
  height: number;
  fps: number;
  g: number;
}

/** An encoder context for yuv420p, not yet opened. */
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
