import { atomicWriteFile, CraftError } from '@craft-ft/torch';
import { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import { encodePng } from '../dataset/png.js';
import { VideoReader } from '../video/index.js';

export interface ContactSheetOptions {
  /** Frames per camera, from the episode's first to its last. Default 8. */
  frames?: number;
  /** Width of each picture, pixels. Default 160. */
  width?: number;
}

/**
 * Writes a PNG with pictures of an episode: one row per camera, time from left to right.
 *
 * @throws CraftError `DATASET_KEY` when the dataset has no videos; `VIDEO_…` naming the file; `DISK_FULL`, `WRITE_FAILED`.
 */
export async function writeContactSheet(
  root: string,
  episodeIndex: number,
  path: string,
  options: ContactSheetOptions = {},
): Promise<{ width: number; height: number; cameras: string[] }> {
  const { frames = 8, width = 160 } = options;
  const metadata = await LeRobotDatasetMetadata.load(root);
  const episode = metadata.episode(episodeIndex);
  const cameras = Object.keys(metadata.features).filter((key) => metadata.features[key]!.dtype === 'video');
  if (cameras.length === 0)
    throw new CraftError(
      'DATASET_KEY',
      `${metadata.root}: the dataset has no videos to make a contact sheet of`,
    );
  const count = Math.min(frames, episode.length);
  const rows: { rgb: Uint8Array; height: number }[] = [];
  for (const key of cameras) {
    using video = await VideoReader.open(metadata.videoPath(episode, key));
    const from = episode.videos[key]!.fromTimestamp;
    const height = Math.max(1, Math.round((video.height * width) / video.width));
    const row = new Uint8Array(count * width * height * 3);
    for (let i = 0; i < count; i++) {
      const frame = count === 1 ? 0 : Math.round((i * (episode.length - 1)) / (count - 1));
      const rgb = video.framesAt([from + frame / metadata.fps], { toleranceS: 0.5 / metadata.fps });
      shrinkInto(
        row,
        i * width,
        count * width,
        { rgb, width: video.width, height: video.height },
        width,
        height,
      );
    }
    rows.push({ rgb: row, height });
  }
  const height = rows.reduce((sum, row) => sum + row.height, 0);
  const sheet = Buffer.concat(rows.map(({ rgb }) => rgb));
  atomicWriteFile(path, await encodePng(sheet, count * width, height));
  return { width: count * width, height, cameras };
}

interface Picture {
  readonly rgb: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** Averages the pixels of each cell of `from` into one of a width × height picture at column `left` of `out`. */
function shrinkInto(
  out: Uint8Array,
  left: number,
  stride: number,
  from: Picture,
  width: number,
  height: number,
): void {
  for (let y = 0; y < height; y++) {
    const top = Math.floor((y * from.height) / height);
    const bottom = Math.max(top + 1, Math.floor(((y + 1) * from.height) / height));
    for (let x = 0; x < width; x++) {
      const start = Math.floor((x * from.width) / width);
      const end = Math.max(start + 1, Math.floor(((x + 1) * from.width) / width));
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (let row = top; row < bottom; row++)
          for (let column = start; column < end; column++)
            sum += from.rgb[(row * from.width + column) * 3 + channel]!;
        out[(y * stride + left + x) * 3 + channel] = Math.round(sum / ((bottom - top) * (end - start)));
      }
    }
  }
}
