import type { VideoEncoding } from '../video/encoder.js';
import { isBookkeeping } from './info.js';
import { isVisual, isWritable } from './parquet-schema.js';
import type { WrittenFeature } from './write-metadata.js';

const imageNames = ['height', 'width', 'channels'];

/** Why the writer cannot take a feature, or undefined. */
export function featureProblem(
  key: string,
  { dtype, shape, names }: { dtype: string; shape: readonly number[]; names?: unknown },
): string | undefined {
  if (isBookkeeping(key) || key === 'task') return 'is written by the writer itself; leave it out';
  // LeRobot forbids slashes too: they separate the parts of column names in meta/episodes.
  if (key === '' || key.includes('/')) return 'must have a name without "/"';
  if (!isWritable(dtype))
    return `has dtype "${dtype}"; numeric dtypes, bool, string, image and video are written`;
  const size = `[${shape.join(', ')}]`;
  if (shape.length < 1 || shape.length > 5 || !shape.every((n) => Number.isInteger(n) && n > 0)) {
    return `has shape ${size}; one to five sizes from 1 on are written`;
  }
  if (dtype === 'string' && (shape.length !== 1 || shape[0] !== 1)) {
    return `has shape ${size}; a string is one text per frame, shape [1]`;
  }
  if (!isVisual(dtype)) return undefined;
  const channels = Array.isArray(names) ? names[2] : undefined;
  if (shape.length !== 3 || shape[2] !== 3 || (names != null && !/^channels?$/.test(String(channels)))) {
    return `has shape ${size}; pictures are [height, width, 3] with names height, width, channels`;
  }
  if (dtype === 'video' && (shape[0]! % 2 !== 0 || shape[1]! % 2 !== 0)) {
    return `is ${shape[1]}×${shape[0]}; a video needs an even width and height (its colours are stored at half size)`;
  }
  return undefined;
}

/** A feature as info.json has it. */
export function writtenFeature(
  { dtype, shape, names }: { dtype: string; shape: readonly number[]; names?: unknown },
  fps: number,
  encoding: VideoEncoding,
): WrittenFeature {
  if (!isVisual(dtype)) return { dtype, shape: [...shape], names: names ?? null };
  const feature = { dtype, shape: [...shape], names: names ?? imageNames };
  return dtype === 'video' ? { ...feature, info: videoInfo(shape, fps, encoding) } : feature;
}

function videoInfo(
  shape: readonly number[],
  fps: number,
  { codec = 'av1', g = 2, crf = 30, preset }: VideoEncoding,
): Record<string, unknown> {
  const [height, width, channels] = shape;
  return {
    'video.height': height,
    'video.width': width,
    'video.codec': codec,
    'video.pix_fmt': 'yuv420p',
    'video.is_depth_map': false,
    'video.fps': fps,
    'video.channels': channels,
    has_audio: false,
    'video.g': g,
    'video.crf': crf,
    'video.preset': preset ?? (codec === 'av1' ? 12 : null),
  };
}
