import { formatPath } from '../dataset/files.js';
import type { VideoSegment } from '../dataset/metadata.js';
import { videoPath } from '../dataset/write-metadata.js';
import type { Demuxer } from '../video/demuxer.js';
import { type FFmpeg, loadFFmpeg } from '../video/ffmpeg.js';
import { nearest } from '../video/packet-index.js';
import type { SourceEpisode } from './read-episodes.js';
import { openVideo, VideoJoiner, type VideoPiece } from './video-copy.js';

/** Where each episode's frames went, by camera; in the order of the episodes. */
export type PlacedVideos = ReadonlyMap<string, readonly VideoSegment[]>;

const filesPerChunk = 1000;

/** The frames of an episode in one camera's file. */
export function pieceOf({ episode }: SourceEpisode, key: string, video: Demuxer): VideoPiece {
  const firstFrame = nearest(video.index.timestamps, episode.videos[key]!.fromTimestamp);
  return { path: video.path, firstFrame, frames: episode.length };
}

/** Opens one file after another, keeping the last one open: neighbouring episodes share it. */
export class VideoShelf {
  #open: Demuxer | undefined;

  constructor(readonly ffmpeg: FFmpeg) {}

  open(path: string): Demuxer {
    if (this.#open?.path === path) return this.#open;
    this.close();
    this.#open = openVideo(path, this.ffmpeg);
    return this.#open;
  }

  close(): void {
    this.#open?.close();
    this.#open = undefined;
  }
}

/**
 * Joins the videos of the episodes, camera by camera. A new file is begun at the size limit and where the encoding changes.
 *
 * @throws CraftError `VIDEO_MISSING`, `VIDEO_INVALID`, `VIDEO_CUT`, `VIDEO_WRITE`, `DISK_FULL`.
 */
export async function composeVideos(
  episodes: readonly SourceEpisode[],
  root: string,
  sizeLimitInMb: number,
): Promise<PlacedVideos> {
  const { features } = episodes[0]!.metadata;
  const cameras = Object.keys(features).filter((key) => features[key]!.dtype === 'video');
  if (cameras.length === 0) return new Map();
  const ffmpeg = await loadFFmpeg();
  return new Map(
    cameras.map((key) => [key, joinCamera(episodes, key, root, sizeLimitInMb * 2 ** 20, ffmpeg)]),
  );
}

function joinCamera(
  episodes: readonly SourceEpisode[],
  key: string,
  root: string,
  maxBytes: number,
  ffmpeg: FFmpeg,
): VideoSegment[] {
  const { fps } = episodes[0]!.metadata;
  const shelf = new VideoShelf(ffmpeg);
  let joiner: VideoJoiner | undefined;
  let model: Demuxer | undefined;
  let file = -1;
  const finish = (): void => {
    joiner?.finish();
    model?.close();
    joiner = undefined;
  };
  try {
    const segments = episodes.map((source): VideoSegment => {
      const video = shelf.open(source.metadata.videoPath(source.episode, key));
      const piece = pieceOf(source, key, video);
      if (joiner !== undefined && (joiner.bytes >= maxBytes || !joiner.accepts(video, piece))) finish();
      if (joiner === undefined) {
        file++;
        const place = {
          video_key: key,
          chunk_index: Math.floor(file / filesPerChunk),
          file_index: file % filesPerChunk,
        };
        model = openVideo(video.path, ffmpeg);
        joiner = new VideoJoiner(formatPath(root, videoPath, place), ffmpeg, fps, model);
      }
      const fromTimestamp = joiner.append(video, piece);
      return {
        chunkIndex: Math.floor(file / filesPerChunk),
        fileIndex: file % filesPerChunk,
        fromTimestamp,
        toTimestamp: fromTimestamp + piece.frames / fps,
      };
    });
    finish();
    return segments;
  } finally {
    joiner?.close();
    shelf.close();
  }
}
