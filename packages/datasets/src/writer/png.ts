import { PNG, type PNGOptions } from 'pngjs';

/** 8-bit RGB, each row stored as differences from the row above. Low compression, as in LeRobot: more gains little on camera images. */
const options: PNGOptions = {
  colorType: 2,
  inputColorType: 2,
  inputHasAlpha: false,
  filterType: 2,
  deflateLevel: 1,
  deflateStrategy: 0,
};

/** Images compressed in the background at a time; beyond that the caller compresses synchronously, so that raw images never pile up. */
const MAX_PENDING = 16;
let pending = 0;

/**
 * Encodes an RGB image as PNG, lossless. The compression runs in Node's thread pool.
 *
 * @param rgb [H, W, 3]; may be changed once the call has returned.
 */
export function encodePng(
  rgb: Uint8Array | Uint8ClampedArray,
  width: number,
  height: number,
): Uint8Array | Promise<Uint8Array> {
  const png = new PNG({ ...options, width, height });
  png.data = Buffer.from(rgb);
  if (pending >= MAX_PENDING) return PNG.sync.write(png, options);
  pending++;
  return collect(png).finally(() => pending--);
}

function collect(png: PNG): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    png.on('data', (part: Buffer) => parts.push(part));
    png.on('end', () => resolve(Buffer.concat(parts)));
    png.on('error', reject);
    png.pack();
  });
}
