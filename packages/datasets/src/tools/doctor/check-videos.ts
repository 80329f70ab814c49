import { existsSync, statSync } from 'node:fs';
import { CraftError } from '@craft-ft/torch';
import type { LeRobotDatasetMetadata } from '../../dataset/metadata.js';
import type { EpisodeRecord } from '../../dataset/metadata-formats.js';
import { loadFFmpeg } from '../../video/ffmpeg.js';
import { nearest } from '../../video/packet-index.js';
import { VideoReader } from '../../video/reader.js';
import { openVideo } from '../compose-videos.js';
import type { Findings } from './findings.js';

/** One camera's file and the episodes whose frames the metadata puts there. */
interface CameraFile {
  readonly camera: string;
  readonly path: string;
  readonly episodes: EpisodeRecord[];
}

/** Checks every video file and every episode's window in it. Returns the paths of all video files. */
export async function checkVideos(
  metadata: LeRobotDatasetMetadata,
  findings: Findings,
  toleranceS: number,
  probe: VideoProbe,
): Promise<Set<string>> {
  const files = cameraFiles(metadata, findings);
  for (const file of files.values()) {
    const video = await open(file, findings, probe);
    if (video === undefined) continue;
    checkEncoding(metadata, file, video, findings);
    checkWindows(metadata, file, video, findings, toleranceS);
  }
  return new Set(files.keys());
}

function cameraFiles(metadata: LeRobotDatasetMetadata, findings: Findings): Map<string, CameraFile> {
  const { features, info, episodes, episodesSource } = metadata;
  const files = new Map<string, CameraFile>();
  for (const camera of Object.keys(features)) {
    if (features[camera]!.dtype !== 'video') continue;
    if (info.videoPath === null) {
      findings.add(
        'METADATA_UNREADABLE',
        'meta/info.json',
        'video_path is missing, though there are cameras',
        { camera },
      );
      continue;
    }
    for (const episode of episodes) {
      const segment = episode.videos[camera];
      if (segment === undefined) {
        const message = `there are no columns videos/${camera}/…, or they are null`;
        findings.add('VIDEO_WINDOW', episodesSource, message, { camera, episode: episode.episodeIndex });
        continue;
      }
      const path = metadata.videoPath(episode, camera);
      const known = files.get(path);
      if (known === undefined) files.set(path, { camera, path, episodes: [episode] });
      else known.episodes.push(episode);
    }
  }
  return files;
}

async function open(
  { camera, path, episodes }: CameraFile,
  findings: Findings,
  probe: VideoProbe,
): Promise<ProbedVideo | undefined> {
  const [first, last] = [episodes[0]!.episodeIndex, episodes.at(-1)!.episodeIndex];
  const about = { camera, ...(first === last && { episode: first }) };
  const text = first === last ? `episode ${first}` : `${episodes.length} episodes, ${first} to ${last}`;
  if (!existsSync(path)) {
    const fix = 'download it, or train without this camera';
    findings.add('VIDEO_MISSING', path, `the file is missing; it holds ${text}`, { ...about, fix });
    return undefined;
  }
  const fix = 'download or record the file again';
  if (statSync(path).size === 0) {
    findings.add('FILE_EMPTY', path, `the file is empty; it should hold ${text}`, { ...about, fix });
    return undefined;
  }
  try {
    return await probe(path);
  } catch (error) {
    findings.addError('VIDEO_UNREADABLE', path, error, about);
    return undefined;
  }
}

function checkEncoding(
  { features, fps }: LeRobotDatasetMetadata,
  { camera, path }: CameraFile,
  video: ProbedVideo,
  findings: Findings,
): void {
  const { shape, extra } = features[camera]!;
  if (Math.abs(video.fps - fps) > 0.01 * fps) {
    findings.add(
      'VIDEO_FPS',
      path,
      `the video has ${round(video.fps)} frames per second, info.json says ${fps}`,
      {
        camera,
        fix: 'correct fps in info.json if the timestamps agree with the video, else encode the video again',
      },
    );
  }
  const sizes = shape.length === 3 ? [shape.slice(0, 2), shape.slice(1)] : [];
  if (
    sizes.length > 0 &&
    !sizes.some(([height, width]) => height === video.height && width === video.width)
  ) {
    const message = `the video is ${video.height}×${video.width}, info.json says [${shape.join(', ')}]`;
    findings.add('VIDEO_SIZE', path, message, { camera, fix: 'correct the shape in info.json' });
  }
  const said = (extra.info ?? extra.video_info) as Record<string, unknown> | undefined;
  const codec = said?.['video.codec'];
  if (typeof codec === 'string' && !sameCodec(codec, video.codec)) {
    findings.add(
      'VIDEO_CODEC',
      path,
      `the codec is ${video.codec}, info.json says ${codec}; frames are read all the same`,
      {
        camera,
      },
    );
  }
}

/** info.json sometimes names the encoder instead of the codec. */
function sameCodec(said: string, found: string): boolean {
  const names: Record<string, string> = {
    libsvtav1: 'av1',
    libx264: 'h264',
    avc1: 'h264',
    libx265: 'hevc',
    h265: 'hevc',
  };
  return (names[said] ?? said) === found;
}

function checkWindows(
  { fps, version, episodesSource }: LeRobotDatasetMetadata,
  { camera, path, episodes }: CameraFile,
  video: ProbedVideo,
  findings: Findings,
  toleranceS: number,
): void {
  const times = Float64Array.from(video.timestamps);
  const end = times[video.frames - 1]! + 1 / fps;
  const half = 0.5 / fps;
  let reached = Number.NEGATIVE_INFINITY;
  const windows = episodes.map((episode) => ({ episode, ...episode.videos[camera]! }));
  windows.sort((a, b) => a.fromTimestamp - b.fromTimestamp);
  for (const { episode, fromTimestamp: from, toTimestamp: to } of windows) {
    const { episodeIndex, length } = episode;
    const about = { camera, episode: episodeIndex };
    if (version !== '3.0' && video.frames !== length) {
      const message = `the video has ${video.frames} frames, ${episodesSource} says ${length}`;
      findings.add('VIDEO_FRAMES', path, message, { ...about, fix: 'record or download the episode again' });
      if (video.frames < length) continue;
    }
    if (version === '3.0' && Math.abs((to - from) * fps - length) > 0.5) {
      const message = `the window ${round(from)} s to ${round(to)} s holds ${round((to - from) * fps)} frames, the episode has ${length}`;
      findings.add('VIDEO_FRAMES', path, message, about);
    }
    if (from < -toleranceS || from + length / fps > end + half || to > end + half) {
      const message = `the window ${round(from)} s to ${round(to)} s is not inside the file, which ends at ${round(end)} s`;
      findings.add('VIDEO_WINDOW', path, message, {
        ...about,
        fix: 'download the file again, or leave the episode out',
      });
      continue;
    }
    if (from < reached - half) {
      findings.add(
        'VIDEO_OVERLAP',
        path,
        `the window begins at ${round(from)} s, before the one of the episode before ends`,
        about,
      );
    }
    reached = from + length / fps;
    for (let frame = 0; frame < length; frame++) {
      const wanted = from + frame / fps;
      const found = times[nearest(times, wanted)]!;
      if (Math.abs(found - wanted) <= toleranceS) continue;
      const message = `no frame at ${round(wanted)} s (frame ${frame} of the episode); the nearest is at ${round(found)} s`;
      const fix = 'craft dataset convert recomputes the windows; or raise tolerance_s';
      findings.add('VIDEO_TIMESTAMP', path, message, { ...about, fix });
      break;
    }
  }
}

function round(value: number): number {
  return Number(value.toFixed(6));
}

/** What a check needs to know about a video file. */
export interface ProbedVideo {
  readonly frames: number;
  /** Average frames per second. */
  readonly fps: number;
  readonly width: number;
  readonly height: number;
  /** FFmpeg's name: `av1`, `h264`, `hevc`. */
  readonly codec: string;
  /** Every frame's time, seconds, ascending. */
  readonly timestamps: ArrayLike<number>;
}

export type VideoProbe = (path: string) => Promise<ProbedVideo>;

/**
 * Reads the header and every packet of a video, decoding none.
 *
 * @throws CraftError `VIDEO_MISSING`, `VIDEO_INVALID`, `VIDEO_LIBRARY`.
 */
export async function probeVideo(path: string): Promise<ProbedVideo> {
  const ffmpeg = await loadFFmpeg();
  const video = openVideo(path, ffmpeg);
  try {
    const { codecParameters: parameters, fps, index } = video;
    const { timestamps, frames } = index;
    const span = timestamps[frames - 1]! - timestamps[0]!;
    return {
      frames,
      fps: span > 0 ? (frames - 1) / span : fps,
      width: parameters.width,
      height: parameters.height,
      codec: ffmpeg.av.avGetCodecName(parameters.codecId) ?? 'unknown',
      timestamps,
    };
  } finally {
    video.close();
  }
}

/** Frames decoded at a time: 16 of 480×640 are 15 MB. */
const CHUNK = 16;

/**
 * Like {@link probeVideo}, but decodes every frame, which finds damage inside frames and takes about as long as reading for an
 * epoch of training.
 *
 * @throws CraftError as {@link probeVideo}; `VIDEO_INVALID` for a frame that cannot be decoded.
 */
export async function decodeVideo(path: string): Promise<ProbedVideo> {
  const probed = await probeVideo(path);
  using video = await VideoReader.open(path, { threads: 2 });
  const into = new Uint8Array(CHUNK * video.frameBytes);
  for (let first = 0; first < video.frames; first += CHUNK) {
    const length = Math.min(CHUNK, video.frames - first);
    const frames = Array.from({ length }, (_, i) => first + i);
    try {
      video.framesByNumber(frames, { into });
    } catch (error) {
      if (!(error instanceof CraftError)) throw error;
      const where = `${path}: among frames ${first} to ${first + length - 1}`;
      throw new CraftError(error.code, `${where}: ${error.message.replace(`${path}: `, '')}`, {
        cause: error,
      });
    }
  }
  return probed;
}
