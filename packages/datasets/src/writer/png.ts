import { promisify } from 'node:util';
import { crc32, deflate, deflateSync } from 'node:zlib';

const deflateAsync = promisify(deflate);

/** Fast: pictures of a camera gain little from more. LeRobot's level too. */
const LEVEL = 1;

/** Pictures compressed at the same time; one more is compressed by its caller, so that raw pictures never pile up. */
const MAX_PENDING = 16;
let pending = 0;

/**
 * An RGB picture as a PNG file, lossless. The compression runs in Node's thread pool.
 *
 * @param rgb [H, W, 3]; may be changed once the call has returned.
 */
export function encodePng(
  rgb: Uint8Array | Uint8ClampedArray,
  width: number,
  height: number,
): Uint8Array | Promise<Uint8Array> {
  const rows = filterUp(rgb, width * 3, height);
  if (pending >= MAX_PENDING) return png(width, height, deflateSync(rows, { level: LEVEL }));
  pending++;
  return deflateAsync(rows, { level: LEVEL })
    .then((data) => png(width, height, data))
    .finally(() => pending--);
}

/** Every row as its difference to the one above (PNG's filter 2), each preceded by the filter's number. */
function filterUp(rgb: Uint8Array | Uint8ClampedArray, rowBytes: number, height: number): Uint8Array {
  const out = new Uint8Array((rowBytes + 1) * height);
  for (let y = 0; y < height; y++) {
    const from = y * rowBytes;
    const to = y * (rowBytes + 1);
    out[to] = 2;
    for (let x = 0; x < rowBytes; x++) {
      out[to + 1 + x] = rgb[from + x]! - (y === 0 ? 0 : rgb[from + x - rowBytes]!);
    }
  }
  return out;
}

function png(width: number, height: number, data: Uint8Array): Uint8Array {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  // 8 bits per channel, RGB; the only methods of compression and filtering; not interlaced.
  header.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return new Uint8Array(
    Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', data), chunk('IEND', Buffer.alloc(0))]),
  );
}

function chunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const result = Buffer.alloc(body.length + 8);
  result.writeUInt32BE(data.length, 0);
  result.set(body, 4);
  result.writeUInt32BE(crc32(body), body.length + 4);
  return result;
}
