// Datasets with cameras, small and smooth.
import { inflateSync } from 'node:zlib';
import { LeRobotDatasetWriter, type LeRobotDatasetWriterOptions } from '../src/writer/writer.js';

export const WIDTH = 48;
export const HEIGHT = 32;
export const CAMERA = 'observation.images.top';

/** Features: a video, a lossless picture, a text, numbers. */
export const cameraFeatures = {
  'observation.state': { dtype: 'float32', shape: [2] },
  [CAMERA]: { dtype: 'video', shape: [HEIGHT, WIDTH, 3] },
  'observation.images.wrist': { dtype: 'image', shape: [HEIGHT, WIDTH, 3] },
  note: { dtype: 'string', shape: [1] },
} as const;

/** A picture that only this frame of this episode has: its blue is one level per frame. */
export function picture(episode: number, frame: number): Uint8Array {
  const rgb = new Uint8Array(HEIGHT * WIDTH * 3);
  for (let y = 0; y < HEIGHT; y++) {
    for (let x = 0; x < WIDTH; x++) {
      rgb.set([40 + 3 * x, 60 + 4 * y, (episode * 64 + frame * 16) % 256], (y * WIDTH + x) * 3);
    }
  }
  return rgb;
}

export function addFrame(writer: LeRobotDatasetWriter, episode: number, frame: number): void {
  writer.addFrame({
    'observation.state': [episode, frame],
    [CAMERA]: { data: picture(episode, frame), width: WIDTH, height: HEIGHT },
    'observation.images.wrist': picture(episode, frame),
    note: frame === 0 ? 'начало' : '',
    task: 'push',
  });
}

/** A writer of {@link cameraFeatures} at 10 fps. */
export function cameraWriter(
  root: string,
  options: Partial<LeRobotDatasetWriterOptions> = {},
): LeRobotDatasetWriter {
  return LeRobotDatasetWriter.create({ root, fps: 10, features: cameraFeatures, ...options });
}

export async function recordEpisodes(
  writer: LeRobotDatasetWriter,
  lengths: readonly number[],
  first = 0,
): Promise<void> {
  for (const [i, length] of lengths.entries()) {
    for (let frame = 0; frame < length; frame++) addFrame(writer, first + i, frame);
    await writer.saveEpisode();
  }
}

/** Decodes a PNG of 8-bit RGB whose rows are unfiltered or differences to the row above. */
export function decodePng(png: Uint8Array): { width: number; height: number; rgb: Uint8Array } {
  const bytes = Buffer.from(png);
  let header: Buffer = Buffer.alloc(0);
  const data: Buffer[] = [];
  for (let at = 8; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    const type = bytes.toString('latin1', at + 4, at + 8);
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (type === 'IHDR') header = body;
    if (type === 'IDAT') data.push(body);
    at += length + 12;
  }
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  const raw = inflateSync(Buffer.concat(data));
  const row = width * 3;
  const rgb = new Uint8Array(row * height);
  for (let y = 0; y < height; y++) {
    const up = raw[y * (row + 1)] === 2 && y > 0;
    for (let x = 0; x < row; x++) {
      rgb[y * row + x] = raw[y * (row + 1) + 1 + x]! + (up ? rgb[(y - 1) * row + x]! : 0);
    }
  }
  return { width, height, rgb };
}

/** Mean absolute difference, in levels of 256. */
export function meanDifference(a: Uint8Array, b: Uint8Array): number {
  return a.reduce((sum, x, i) => sum + Math.abs(x - b[i]!), 0) / a.length;
}

/** Writes a v3.0 dataset, 10 fps, of short episodes with a video; the action can be told from the state and seen in the picture. */
export async function makeCameraTask(
  root: string,
  options: { lengths?: readonly number[]; turn?: 1 | -1; light?: number } = {},
): Promise<string> {
  const { lengths = [8, 7], turn = 1, light = 0 } = options;
  const writer = LeRobotDatasetWriter.create({
    root,
    fps: 10,
    features: {
      'observation.state': { dtype: 'float32', shape: [2] },
      [CAMERA]: { dtype: 'video', shape: [HEIGHT, WIDTH, 3] },
      action: { dtype: 'float32', shape: [2] },
    },
  });
  for (const [episode, length] of lengths.entries()) {
    for (let frame = 0; frame < length; frame++) {
      writer.addFrame({
        'observation.state': [frame / length, episode],
        [CAMERA]: picture(episode, frame).map((level) => level / 2 + light),
        action: [turn * Math.cos(frame), turn * (0.5 - episode)],
        task: 'push',
      });
    }
    await writer.saveEpisode();
  }
  writer.finalize();
  return root;
}
