import { renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CraftError, explainWriteError, StagedFile } from '@craft-ft/torch';
import { concatenateVideos } from '../video/concatenate.js';
import { VideoEncoder, type VideoEncoding } from '../video/encoder.js';
import type { ImageSink } from './episode-buffer.js';
import { formatPath } from './files.js';
import { ImageStats } from './image-stats.js';
import type { VideoSegment } from './metadata.js';
import { type FileSlot, makeFolderOf, nextSlot, type Staged } from './staged.js';
import type { FeatureStats } from './stats.js';

export interface VideoTrackOptions {
  readonly root: string;
  readonly key: string;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  readonly encoding: VideoEncoding;
  /** Template of info.json. */
  readonly videoPath: string;
  /** A file is not continued when it would reach this size. */
  readonly maxBytes: number;
  readonly chunksSize: number;
  /** The first file to write. */
  readonly first: FileSlot;
}

/** The file that the next episode may be appended to. */
interface CurrentFile {
  readonly slot: FileSlot;
  readonly bytes: number;
  readonly frames: number;
}

/**
 * One camera's video files. The open episode is encoded into a file of its own while it is recorded; saving it copies the
 * packets of the current file and its own into a new version of the current file.
 */
export class VideoTrack implements ImageSink {
  readonly #options: VideoTrackOptions;
  readonly #stats: ImageStats;
  #encoder: VideoEncoder | undefined;
  #current: CurrentFile | undefined;

  constructor(options: VideoTrackOptions) {
    this.#options = options;
    this.#stats = new ImageStats(options.width, options.height);
  }

  /** Statistics of the open episode. */
  stats(): FeatureStats {
    return this.#stats.compute();
  }

  /** @throws CraftError `VIDEO_LIBRARY`, `VIDEO_ENCODER`, `DISK_FULL`, `VIDEO_WRITE`. */
  add(rgb: Uint8Array | Uint8ClampedArray): void {
    this.#encoder ??= this.#begin();
    this.#encoder.add(rgb);
    this.#stats.add(rgb);
  }

  #begin(): VideoEncoder {
    const { root, key, width, height, fps, encoding } = this.#options;
    const { temporary } = new StagedFile(join(root, 'videos', key, 'episode.mp4'));
    makeFolderOf(temporary);
    return VideoEncoder.create(temporary, { width, height, fps, ...encoding });
  }

  /**
   * Ends the open episode's video and writes the file that holds it.
   *
   * @throws CraftError `DISK_FULL`, `VIDEO_WRITE`, `VIDEO_INVALID` when the current file was changed by someone else.
   */
  async stage(): Promise<Staged<VideoSegment>> {
    const { root, key, fps, videoPath, maxBytes, chunksSize, first } = this.#options;
    const encoder = this.#encoder!;
    await encoder.finish();
    const bytes = statSync(encoder.path).size;
    const current = this.#current;
    const continued = current !== undefined && current.bytes + bytes < maxBytes;
    const slot = continued
      ? current.slot
      : current === undefined
        ? first
        : nextSlot(current.slot, chunksSize);
    const from = continued ? current.frames : 0;
    const path = formatPath(root, videoPath, {
      video_key: key,
      chunk_index: slot.chunk,
      file_index: slot.file,
    });
    makeFolderOf(path);
    const file = new StagedFile(path);
    try {
      if (continued) await append(path, encoder.path, file.temporary, fps, from + encoder.frames);
      else renameSync(encoder.path, file.temporary);
      file.flush();
    } catch (error) {
      file.discard();
      throw explainWriteError(error, path);
    }
    const now: CurrentFile = {
      slot,
      bytes: statSync(file.temporary).size,
      frames: from + encoder.frames,
    };
    return {
      files: [file],
      value: {
        chunkIndex: slot.chunk,
        fileIndex: slot.file,
        fromTimestamp: from / fps,
        toTimestamp: now.frames / fps,
      },
      accept: () => {
        this.#current = now;
      },
    };
  }

  /** Forgets the open episode, saved or not. */
  clear(): void {
    this.#stats.clear();
    const encoder = this.#encoder;
    if (encoder === undefined) return;
    this.#encoder = undefined;
    encoder.abort();
    rmSync(encoder.path, { force: true });
  }
}

async function append(
  path: string,
  episode: string,
  to: string,
  fps: number,
  expected: number,
): Promise<void> {
  const frames = await concatenateVideos([path, episode], to, fps);
  if (frames === expected) return;
  throw new CraftError(
    'VIDEO_INVALID',
    `${path}: with the new episode it has ${frames} frames, expected ${expected}; was it changed while recording? Open the dataset again`,
  );
}
