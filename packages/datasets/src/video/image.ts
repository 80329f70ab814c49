import { CraftError } from '@craft-ft/torch/errors';
import { type FFmpeg, loadFFmpeg, reasonOf } from './ffmpeg.js';
import type { Frames } from './pool.js';
import { RgbConverter } from './rgb.js';

const FORMATS = [
  { decoder: 'FF_DECODER_PNG', magic: [0x89, 0x50, 0x4e, 0x47] },
  { decoder: 'FF_DECODER_MJPEG', magic: [0xff, 0xd8, 0xff] },
  { decoder: 'FF_DECODER_WEBP', magic: [0x52, 0x49, 0x46, 0x46] },
] as const;

/** Interpolates chroma at full size, as libjpeg does for photographs. */
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
    // A cut or damaged image is an error, not half a picture.
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
