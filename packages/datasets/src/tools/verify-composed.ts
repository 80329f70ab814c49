import { CraftError } from '@craft-ft/torch';
import type { Column } from '../dataset/columns.js';
import { isBookkeeping } from '../dataset/info.js';
import { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import { loadFFmpeg } from '../video/ffmpeg.js';
import { pieceOf, VideoShelf } from './compose-videos.js';
import { readEpisodes, type SourceEpisode } from './read-episodes.js';
import type { StoredPicture } from './read-others.js';
import { hashPiece } from './video-copy.js';

/**
 * Reads a composed dataset back and compares it with its sources: every number, text, picture and instruction, every encoded
 * video frame and its time.
 *
 * @throws CraftError `TOOL_VERIFY` naming the first difference.
 */
export async function verifyComposed(
  sources: readonly SourceEpisode[],
  root: string,
  toleranceS: number,
): Promise<{ values: number; videoFrames: number }> {
  const fail = (what: string): never => {
    throw new CraftError('TOOL_VERIFY', `${root}: the written dataset differs: ${what}; nothing is kept`);
  };
  const metadata = await LeRobotDatasetMetadata.load(root, { onWarning: fail });
  if (metadata.episodes.length !== sources.length)
    fail(`${metadata.episodes.length} episodes instead of ${sources.length}`);
  const written = metadata.episodes.map((episode) => ({ metadata, episode }));
  const copies = readEpisodes(written, fail);
  let values = 0;
  // The sources' own warnings were given when they were read for writing.
  for await (const source of readEpisodes(sources, () => {})) {
    const copy = (await copies.next()).value!;
    for (const key of source.columns.keys()) {
      if (isBookkeeping(key) && key !== 'timestamp' && key !== 'frame_index') continue;
      const tolerance = key === 'timestamp' ? toleranceS : 0;
      const at = difference(
        source.columns.get(key)!,
        source.row,
        copy.columns.get(key)!,
        copy.row,
        source.episode.length,
        tolerance,
      );
      if (at !== undefined) fail(`"${key}" at frame ${at} of episode ${copy.episode.episodeIndex}`);
      values += source.episode.length * source.columns.get(key)!.width;
    }
    source.tasks.forEach((task, frame) => {
      if (task !== copy.tasks[frame])
        fail(`the task at frame ${frame} of episode ${copy.episode.episodeIndex}`);
    });
    for (const [key, own] of source.others) {
      const other = copy.others.get(key)!;
      const at = own.findIndex((value, frame) => !sameOther(value, other[frame]!));
      if (at !== -1) fail(`"${key}" at frame ${at} of episode ${copy.episode.episodeIndex}`);
    }
  }
  return { values, videoFrames: await verifyVideos(sources, written, toleranceS, fail) };
}

type Other = string | StoredPicture;

function sameOther(a: Other, b: Other): boolean {
  if (typeof a === 'string' || typeof b === 'string') return a === b;
  return Buffer.compare(a.bytes, b.bytes) === 0;
}

/** The first frame at which two columns differ. */
function difference(
  a: Column,
  aRow: number,
  b: Column,
  bRow: number,
  frames: number,
  tolerance: number,
): number | undefined {
  if (a.width !== b.width) return 0;
  for (let i = 0; i < frames * a.width; i++) {
    const x = a.data[aRow * a.width + i]!;
    const y = b.data[bRow * b.width + i]!;
    if (!Object.is(x, y) && !(tolerance > 0 && Math.abs(Number(x) - Number(y)) <= tolerance))
      return Math.floor(i / a.width);
  }
  return undefined;
}

async function verifyVideos(
  sources: readonly SourceEpisode[],
  written: readonly SourceEpisode[],
  toleranceS: number,
  fail: (what: string) => never,
): Promise<number> {
  const { features, fps } = written[0]!.metadata;
  const cameras = Object.keys(features).filter((key) => features[key]!.dtype === 'video');
  if (cameras.length === 0) return 0;
  const ffmpeg = await loadFFmpeg();
  const [old, own] = [new VideoShelf(ffmpeg), new VideoShelf(ffmpeg)];
  let frames = 0;
  try {
    for (const key of cameras) {
      sources.forEach((source, i) => {
        const copy = written[i]!;
        const before = old.open(source.metadata.videoPath(source.episode, key));
        const after = own.open(copy.metadata.videoPath(copy.episode, key));
        const piece = pieceOf(copy, key, after);
        if (hashPiece(before, pieceOf(source, key, before)) !== hashPiece(after, piece))
          fail(`the video "${key}" of episode ${i}`);
        for (let frame = 0; frame < piece.frames; frame++) {
          const expected = copy.episode.videos[key]!.fromTimestamp + frame / fps;
          const found = after.index.timestamps[piece.firstFrame + frame]!;
          if (!(Math.abs(found - expected) <= toleranceS))
            fail(
              `the video "${key}" of episode ${i} shows frame ${frame} at ${found} s, expected ${expected} s`,
            );
        }
        frames += piece.frames;
      });
    }
  } finally {
    old.close();
    own.close();
  }
  return frames;
}
