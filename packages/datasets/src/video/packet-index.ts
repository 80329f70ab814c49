import { CraftError } from '@craft-ft/torch/errors';

/** One packet of a video stream, in decoding order. Times are in the stream's units. */
export interface PacketEntry {
  readonly pts: number;
  readonly dts: number;
  readonly key: boolean;
  /** False if the container says that the frame is decoded but not shown. */
  readonly shown: boolean;
}

/**
 * An index of all frames of a video, built once when the file is opened, so that no frame has to be searched for.
 *
 * A *packet* number counts in decoding order, a *frame* number in presentation order; they differ with B-frames.
 */
export class PacketIndex {
  /** Presentation time by packet. */
  readonly pts: Float64Array;
  /** Decoding time by packet. */
  readonly dts: Float64Array;
  /** Packet by frame. */
  readonly packetOf: Int32Array;
  /** Presentation time by frame, seconds, ascending. */
  readonly timestamps: Float64Array;
  readonly #key: Uint8Array;
  /** All packets by presentation time. */
  readonly #byPts: Int32Array;

  /** @param secondsPerUnit The stream's time base. */
  constructor(packets: readonly PacketEntry[], secondsPerUnit: { num: number; den: number }) {
    this.pts = Float64Array.from(packets, (packet) => packet.pts);
    this.dts = Float64Array.from(packets, (packet) => packet.dts);
    this.#key = Uint8Array.from(packets, (packet) => (packet.key ? 1 : 0));
    this.#byPts = Int32Array.from(packets.keys()).sort((a, b) => this.pts[a]! - this.pts[b]! || a - b);
    this.packetOf = this.#byPts.filter((packet) => packets[packet]!.shown);
    const { num, den } = secondsPerUnit;
    this.timestamps = Float64Array.from(this.packetOf, (packet) => (this.pts[packet]! * num) / den);
  }

  /** Average interval between frames, in the stream's units; 1 for a single frame. */
  get interval(): number {
    const span = this.pts[this.packetOf.at(-1)!]! - this.pts[this.packetOf[0]!]!;
    return this.frames > 1 ? span / (this.frames - 1) : 1;
  }

  get packets(): number {
    return this.pts.length;
  }

  get frames(): number {
    return this.packetOf.length;
  }

  /** The packet shown at `pts`, or -1. */
  find(pts: number): number {
    const at = lowerBound(this.#byPts.length, (i) => this.pts[this.#byPts[i]!]! >= pts);
    const packet = this.#byPts[at];
    return packet !== undefined && this.pts[packet] === pts ? packet : -1;
  }

  /**
   * The packet at which to start decoding to get `packet`: the last key frame that is neither sent nor shown after it. The second condition
   * matters for frames that follow a key frame in the file but are shown before it and refer to frames before it. -1: none.
   */
  keyFor(packet: number): number {
    for (let i = packet; i >= 0; i--) if (this.#key[i] === 1 && this.pts[i]! <= this.pts[packet]!) return i;
    return -1;
  }
}

/** The first i in 0…n-1 for which `reached` holds, or n if there is none; `reached` must be monotonic. */
function lowerBound(n: number, reached: (i: number) => boolean): number {
  let low = 0;
  let high = n;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (reached(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Index of the entry of ascending `sorted` nearest to `value`, the earlier of two equally near; -1 if it is empty. */
export function nearest(sorted: Float64Array, value: number): number {
  const after = lowerBound(sorted.length, (i) => sorted[i]! >= value);
  if (after === 0) return sorted.length === 0 ? -1 : 0;
  if (after === sorted.length) return after - 1;
  return value - sorted[after - 1]! <= sorted[after]! - value ? after - 1 : after;
}

/** Largest allowed distance between a frame and the requested time, seconds: LeRobot's `tolerance_s`. */
const DEFAULT_TOLERANCE_S = 1e-4;

/** What is needed to find the frame for a time. */
export interface Timeline {
  readonly path: string;
  /** Presentation times, seconds, ascending. */
  readonly timestamps: Float64Array;
}

/**
 * The number of the nearest frame for each time.
 *
 * @param times Seconds within the file.
 * @throws CraftError `VIDEO_TIMESTAMP` naming the file, the time and the nearest frame's time.
 */
export function framesNear(
  video: Timeline,
  times: ArrayLike<number>,
  toleranceS = DEFAULT_TOLERANCE_S,
): Int32Array {
  return Int32Array.from(times, (time) => {
    const frame = nearest(video.timestamps, time);
    const found = video.timestamps[frame]!;
    // A NaN fails this comparison too.
    if (Math.abs(found - time) <= toleranceS) return frame;
    throw new CraftError(
      'VIDEO_TIMESTAMP',
      `${video.path}: no frame at ${seconds(time)} s; the nearest, number ${frame}, is at ${seconds(found)} s, more than the ` +
        `tolerance of ${toleranceS} s away; check the dataset's fps and from_timestamp, or raise tolerance_s`,
    );
  });
}

/** Seconds with enough digits to tell neighbouring frames and float errors apart. */
export function seconds(time: number): string {
  return String(Number(time.toFixed(6)));
}
