import type { Frame, SoftwareScaleContext } from 'node-av/lib';
import type { FFmpeg } from './ffmpeg.js';

/**
 * Converts decoded frames to RGB through FFmpeg's swscale, size unchanged: bilinear, and by the colour matrix and range that
 * the frame is tagged with, as torchcodec (LeRobot's default backend) and the ffmpeg command do.
 */
export class RgbConverter {
  readonly #scale: SoftwareScaleContext;
  readonly #rgb: Frame;
  readonly #width: number;
  readonly #height: number;

  constructor({ av, constants }: FFmpeg, width: number, height: number) {
    this.#width = width;
    this.#height = height;
    this.#scale = new av.SoftwareScaleContext();
    this.#scale.allocContext();
    this.#scale.setOption('sws_flags', 'bilinear');
    this.#rgb = new av.Frame();
    this.#rgb.alloc();
    this.#rgb.width = width;
    this.#rgb.height = height;
    this.#rgb.format = constants.AV_PIX_FMT_RGB24;
    this.#rgb.getBuffer(0);
  }

  /** Writes [H, W, 3] at `offset` of `out`. Returns FFmpeg's error code, negative on failure. */
  convert(frame: Frame, out: Uint8Array, offset: number): number {
    const code = this.#scale.scaleFrameSync(this.#rgb, frame);
    if (code < 0) return code;
    const plane = this.#rgb.data![0]!;
    const stride = this.#rgb.linesize[0]!;
    const row = this.#width * 3;
    if (stride === row) {
      out.set(plane.subarray(0, row * this.#height), offset);
    } else {
      for (let y = 0; y < this.#height; y++) {
        out.set(plane.subarray(y * stride, y * stride + row), offset + y * row);
      }
    }
    return 0;
  }

  close(): void {
    this.#scale.freeContext();
    this.#rgb.free();
  }
}
