import { LRUCache } from 'lru-cache';
import type { Frame, SoftwareScaleContext } from 'node-av/lib';
import type { FFmpeg } from './ffmpeg.js';
import { allocateFrame } from './picture.js';

/** Converters kept per thread, one per size: videos of a dataset share theirs. */
const MAX_CONVERTERS = 8;

const converters = new LRUCache<string, RgbConverter>({
  max: MAX_CONVERTERS,
  dispose: (converter) => converter.close(),
});

/**
 * Converts decoded frames to RGB through FFmpeg's swscale, size unchanged, by the colour matrix and range that the frame is
 * tagged with, as torchcodec (LeRobot's default backend) and the ffmpeg command do.
 */
export class RgbConverter {
  readonly #scale: SoftwareScaleContext;
  readonly #rgb: Frame;
  /** The pixels of `#rgb`. Asked for once: each asking makes a Buffer that keeps them in memory until it is collected. */
  readonly #plane: Uint8Array;
  readonly #stride: number;
  readonly #width: number;
  readonly #height: number;

  private constructor(ffmpeg: FFmpeg, width: number, height: number, flags: string) {
    this.#width = width;
    this.#height = height;
    this.#scale = new ffmpeg.av.SoftwareScaleContext();
    this.#scale.allocContext();
    this.#scale.setOption('sws_flags', flags);
    this.#rgb = allocateFrame(ffmpeg, width, height, ffmpeg.constants.AV_PIX_FMT_RGB24);
    this.#plane = this.#rgb.data![0]!;
    this.#stride = this.#rgb.linesize[0]!;
  }

  /** The thread's converter for a size. It may be closed by the next call: do not keep it. @param flags Of swscale, joined by `+`. */
  static for(ffmpeg: FFmpeg, width: number, height: number, flags = 'bilinear'): RgbConverter {
    const key = `${width}x${height} ${flags}`;
    const known = converters.get(key);
    if (known !== undefined) return known;
    const converter = new RgbConverter(ffmpeg, width, height, flags);
    converters.set(key, converter);
    return converter;
  }

  /** Writes [H, W, 3] at `offset` of `out`. Returns FFmpeg's error code, negative on failure. */
  convert(frame: Frame, out: Uint8Array, offset: number): number {
    const code = this.#scale.scaleFrameSync(this.#rgb, frame);
    if (code < 0) return code;
    const row = this.#width * 3;
    if (this.#stride === row) {
      out.set(this.#plane.subarray(0, row * this.#height), offset);
    } else {
      for (let y = 0; y < this.#height; y++) {
        const at = y * this.#stride;
        out.set(this.#plane.subarray(at, at + row), offset + y * row);
      }
    }
    return 0;
  }

  close(): void {
    this.#scale.freeContext();
    this.#rgb.free();
  }
}
