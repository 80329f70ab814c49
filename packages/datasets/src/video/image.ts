import { CraftError } from '@craft-ft/torch/errors';
import { LRUCache } from 'lru-cache';
import type { Frame, SoftwareScaleContext } from 'node-av/lib';
import { allocateFrame, type FFmpeg, loadFFmpeg, reasonOf } from './ffmpeg.js';

/** Decoded frames. */
export interface Frames {
  /** uint8 [n, height, width, 3], RGB. */
  readonly rgb: Uint8Array;
  readonly width: number;
  readonly height: number;
}

const FORMATS = [
  { decoder: 'FF_DECODER_PNG', magic: [0x89, 0x50, 0x4e, 0x47] },
  { decoder: 'FF_DECODER_MJPEG', magic: [0xff, 0xd8, 0xff] },
  { decoder: 'FF_DECODER_WEBP', magic: [0x52, 0x49, 0x46, 0x46] },
] as const;

/** Interpolates chroma at full resolution, as libjpeg does for photographs. */
const STILL = 'bilinear+full_chroma_int+accurate_rnd';

/**
 * Decodes one still image, the bytes of an `image` feature or of an image file: PNG, JPEG or WebP. Grey and palette images
 * become RGB, an alpha channel is dropped.
 *
 * @param where Names the image in errors, such as the file or the episode, frame and camera.
 * @returns `rgb`: uint8 [height, width, 3]. PNG is exact; JPEG differs from libjpeg's by
 * rounding and, where chroma is subsampled, by its interpolation: a few levels at most in photographs, more at sharp edges.
 * @throws CraftError `IMAGE_INVALID`.
 */
export async function decodeImage(bytes: Uint8Array, where: string): Promise<Frames> {
  const format = FORMATS.find(({ magic }) => magic.every((byte, i) => bytes[i] === byte));
  if (format === undefined) {
    const what = bytes.length === 0 ? 'is empty' : 'is not a PNG, JPEG or WebP image';
    throw new CraftError('IMAGE_INVALID', `${where}: the image ${what}; record or convert it again`);
  }
  return decodeStill(await loadFFmpeg(), format.decoder, bytes, where);
}

function decodeStill(
  ffmpeg: FFmpeg,
  decoder: (typeof FORMATS)[number]['decoder'],
  bytes: Uint8Array,
  where: string,
): Frames {
  const { av } = ffmpeg;
  const codec = av.Codec.findDecoderByName(ffmpeg.constants[decoder]);
  if (codec === null)
    throw new CraftError('IMAGE_INVALID', `${where}: this FFmpeg has no decoder for the image's format`);
  const context = new av.CodecContext();
  const packet = new av.Packet();
  const frame = new av.Frame();
  const check = (code: number) => {
    if (code >= 0 && frame.decodeErrorFlags === 0) return;
    const reason = code < 0 ? reasonOf(ffmpeg, code) : 'damaged';
    throw new CraftError(
      'IMAGE_INVALID',
      `${where}: the image cannot be decoded (${reason}); record it again`,
    );
  };
  packet.alloc();
  frame.alloc();
  try {
    context.allocContext3(codec);
    context.threadCount = 1;
    // A truncated or damaged image is an error, not half an image.
    context.setOption('err_detect', 'crccheck+explode');
    check(context.open2Sync(codec, null));
    packet.data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    check(context.sendPacketSync(packet));
    context.sendPacketSync(null);
    check(context.receiveFrameSync(frame));
    const { width, height } = frame;
    const rgb = new Uint8Array(width * height * 3);
    check(RgbConverter.for(ffmpeg, width, height, STILL).convert(frame, rgb, 0));
    return { rgb, width, height };
  } finally {
    frame.free();
    packet.free();
    context.freeContext();
  }
}

/** Converters kept per thread, one per size: videos of a dataset share theirs. */
const MAX_CONVERTERS = 8;

const converters = new LRUCache<string, RgbConverter>({
  max: MAX_CONVERTERS,
  dispose: (converter) => converter.close(),
});

/**
 * Converts decoded frames to RGB with FFmpeg's swscale at unchanged size, using the colour matrix and range that the frame is tagged with,
 * as torchcodec (LeRobot's default backend) and the ffmpeg command do.
 */
export class RgbConverter {
  readonly #scale: SoftwareScaleContext;
  readonly #rgb: Frame;
  /** The pixels of `#rgb`. Read once: every access to `data` makes a Buffer that keeps the pixels in memory until it is collected. */
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

  /** The thread's converter for a size. The next call may close it: do not keep it. @param flags Of swscale, joined by `+`. */
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
