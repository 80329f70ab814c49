/** Frames of one video, for places in a buffer. */
export interface VideoTask {
  readonly kind: 'video';
  readonly path: string;
  /** Seconds within the file, ascending. */
  readonly times: number[];
  /** Place of each in the buffer, in frames. */
  readonly slots: number[];
}

/** Images stored in the rows of one Parquet file, for places in a buffer. */
export interface ImageTask {
  readonly kind: 'image';
  readonly path: string;
  readonly column: string;
  /** Rows within the file, ascending. */
  readonly rows: number[];
  /** Name of each in errors: its episode and frame. */
  readonly names: string[];
  /** Place of each in the buffer, in frames. */
  readonly slots: number[];
}

export type FrameTask = VideoTask | ImageTask;

/** What a frame decoder is asked: tasks into one buffer of frames of one size. */
export interface FrameRequest {
  readonly id: number;
  readonly tasks: FrameTask[];
  /** uint8 [n, height, width, 3] */
  readonly buffer: SharedArrayBuffer;
  readonly height: number;
  readonly width: number;
  readonly toleranceS: number;
}

/** How a decoder answers. */
export type FrameReply =
  | { readonly id: number; readonly error?: undefined }
  | { readonly id: number; readonly error: { code: string; message: string } };

/** Settings of a decoder; plain data, so that it can be sent to a worker. */
export interface DecoderSettings {
  /** null: none; `memory`; else a folder. */
  readonly frameCache: string | null;
  /** Bound on a memory cache, bytes. */
  readonly cacheBytes: number;
  /** Memory of the workers' StopGate; absent in the main thread. */
  readonly gate?: SharedArrayBuffer;
}
