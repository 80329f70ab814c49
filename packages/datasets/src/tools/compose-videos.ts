import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import { CraftError, makeFolder } from '@craft-ft/torch';
import type { FormatContext, Stream } from 'node-av/lib';
import { formatPath } from '../dataset/dataset-files.js';
import type { VideoSegment } from '../dataset/metadata-formats.js';
import { Demuxer, stampVideo } from '../video/demuxer.js';
import { type FFmpeg, loadFFmpeg } from '../video/ffmpeg.js';
import { videoWriteError } from '../video/mp4.js';
import { nearest } from '../video/packet-index.js';
import { videoPath } from '../writer/metadata-files.js';
import type { SourceEpisode } from './source-episodes.js';

/** Where the frames of each episode went, by camera, in episode order. */
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
 * Joins the videos of the episodes, camera by camera. A new file is started at the size limit and when the encoding changes.
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

/** Consecutive frames of a video file, in presentation order. */
interface VideoPiece {
  readonly path: string;
  readonly firstFrame: number;
  readonly frames: number;
}

/** Opens a video for copying. Throws CraftError `VIDEO_MISSING`, `VIDEO_INVALID`. */
export function openVideo(path: string, ffmpeg: FFmpeg): Demuxer {
  stampVideo(path);
  return new Demuxer(path, ffmpeg);
}

/**
 * Packet numbers (in decoding order) that hold exactly a piece.
 *
 * @throws CraftError `VIDEO_CUT` unless the piece begins at a key frame and refers to no frame outside; LeRobot's recordings do,
 * because each episode is encoded by itself.
 */
function packetsOf(video: Demuxer, { path, firstFrame, frames }: VideoPiece): [first: number, end: number] {
  const { index } = video;
  const cut = (why: string): CraftError =>
    new CraftError(
      'VIDEO_CUT',
      `${path}: frames ${firstFrame} to ${firstFrame + frames - 1} cannot be extracted without re-encoding: ${why}`,
    );
  if (firstFrame < 0 || firstFrame + frames > index.frames) throw cut(`the file has ${index.frames} frames`);
  const packets = index.packetOf.subarray(firstFrame, firstFrame + frames);
  const wanted = new Set(packets);
  const first = packets[0]!;
  if (index.keyFor(first) !== first) throw cut('the first is no key frame');
  let end = first;
  for (const packet of packets) {
    if (packet < first) throw cut('the first is not the first in the file');
    end = Math.max(end, packet + 1);
  }
  const shown = new Set(index.packetOf);
  for (let packet = first; packet < end; packet++) {
    if (shown.has(packet) && !wanted.has(packet)) throw cut('they are interleaved with others in the file');
  }
  return [first, end];
}

/** SHA-256 of the encoded frames of a piece: equal hashes mean equal images. */
export function hashPiece(video: Demuxer, piece: VideoPiece): string {
  const hash = createHash('sha256');
  forEachPacket(video, packetsOf(video, piece), () => hash.update(video.packet.data ?? ''));
  return hash.digest('hex');
}

function forEachPacket(video: Demuxer, [first, end]: readonly [number, number], visit: () => void): void {
  video.seek(first);
  while (video.position < end && video.next()) visit();
}

/** Joins pieces of videos in one MP4 file by copying the encoded frames: nothing is decoded, nothing lost. */
class VideoJoiner {
  readonly path: string;
  readonly #ffmpeg: FFmpeg;
  readonly #fps: number;
  readonly #model: Demuxer;
  readonly #output: FormatContext;
  readonly #stream: Stream;
  #frames = 0;
  #closed = false;
  #bytes = 0;
  #lastDts = Number.NEGATIVE_INFINITY;

  /** @param model A video whose codec, size and time base the file takes over; it may be closed once the file is finished. */
  constructor(path: string, ffmpeg: FFmpeg, fps: number, model: Demuxer) {
    this.path = path;
    this.#ffmpeg = ffmpeg;
    this.#fps = fps;
    this.#model = model;
    makeFolder(dirname(path));
    const { av } = ffmpeg;
    this.#output = new av.FormatContext();
    this.#check(this.#output.allocOutputContext2(null, 'mp4', `file:${path}`));
    this.#stream = this.#output.newStream(null);
    this.#check(model.codecParameters.copy(this.#stream.codecpar));
    // The tag belongs to the source's container; 0 lets the muxer choose.
    this.#stream.codecpar.codecTag = 0;
    this.#stream.timeBase = new av.Rational(model.timeBase.num, model.timeBase.den);
    this.#stream.avgFrameRate = new av.Rational(fps, 1);
    this.#check(this.#output.openOutputSync());
    this.#check(this.#output.writeHeaderSync(null));
  }

  /** Bytes of the frames so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether a piece of `video` can be appended: same codec, parameters, size, time base and decoding order. */
  accepts(video: Demuxer, piece: VideoPiece): boolean {
    const a = this.#model.codecParameters;
    const b = video.codecParameters;
    const [first] = packetsOf(video, piece);
    return (
      a.codecId === b.codecId &&
      a.width === b.width &&
      a.height === b.height &&
      a.format === b.format &&
      (a.extradata ?? Buffer.alloc(0)).equals(b.extradata ?? Buffer.alloc(0)) &&
      this.#model.timeBase.num === video.timeBase.num &&
      this.#model.timeBase.den === video.timeBase.den &&
      video.index.dts[first]! + this.#shift(video, first) > this.#lastDts
    );
  }

  /** Appends a piece. Returns its start in the file, seconds. */
  append(video: Demuxer, piece: VideoPiece): number {
    const packets = packetsOf(video, piece);
    const shift = this.#shift(video, packets[0]);
    const from = this.#frames / this.#fps;
    forEachPacket(video, packets, () => {
      const { packet } = video;
      this.#bytes += packet.size;
      this.#lastDts = Number(packet.dts) + shift;
      packet.pts += BigInt(shift);
      packet.dts += BigInt(shift);
      packet.streamIndex = 0;
      packet.rescaleTs(video.timeBase, this.#stream.timeBase);
      this.#check(this.#output.interleavedWriteFrameSync(packet));
    });
    this.#frames += piece.frames;
    return from;
  }

  /** Completes the file. */
  finish(): void {
    this.#check(this.#output.writeTrailerSync());
    this.close();
  }

  /** Closes the file; without `finish` it is incomplete. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#output.closeOutputSync();
    this.#output.freeContext();
  }

  /** Offset from times in the source to times in the file, in the source's time base. */
  #shift(video: Demuxer, first: number): number {
    const { num, den } = video.timeBase;
    return Math.round((this.#frames * den) / (num * this.#fps)) - video.index.pts[first]!;
  }

  #check(code: number): void {
    if (code < 0) throw videoWriteError(this.#ffmpeg, this.path, code);
  }
}
