import { crc32, deflateSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { decodeImage } from './image.js';

/** A PNG of 8 bits: colour type 0 grey, 2 RGB, 6 RGBA. */
function png(width: number, height: number, type: 0 | 2 | 6, pixels: Uint8Array): Buffer {
  const row = width * { 0: 1, 2: 3, 6: 4 }[type];
  const raw = Buffer.alloc((row + 1) * height);
  for (let y = 0; y < height; y++) raw.set(pixels.subarray(y * row, (y + 1) * row), y * (row + 1) + 1);
  const chunk = (name: string, data: Uint8Array) => {
    const body = Buffer.concat([Buffer.from(name, 'latin1'), data]);
    const ends = Buffer.alloc(8);
    ends.writeUInt32BE(data.length);
    ends.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header.set([8, type, 0, 0, 0], 8);
  const magic = Buffer.from('89504e470d0a1a0a', 'hex');
  const none = new Uint8Array();
  return Buffer.concat([magic, chunk('IHDR', header), chunk('IDAT', deflateSync(raw)), chunk('IEND', none)]);
}

const values = (n: number) => Uint8Array.from({ length: n }, (_, i) => (i * 73) % 256);

it.each([
  [4, 3],
  [37, 11],
  [640, 480],
])('decodes a PNG of %i × %i exactly', async (width, height) => {
  const rgb = values(width * height * 3);
  const image = await decodeImage(png(width, height, 2, rgb), 'test');
  expect([image.width, image.height]).toEqual([width, height]);
  expect(Buffer.compare(image.rgb, rgb)).toBe(0);
});

it('makes RGB of grey and drops alpha', async () => {
  const grey = values(5 * 4);
  expect((await decodeImage(png(5, 4, 0, grey), 'test')).rgb).toEqual(
    Uint8Array.from({ length: 60 }, (_, i) => grey[Math.floor(i / 3)]!),
  );
  const rgba = values(5 * 4 * 4);
  expect((await decodeImage(png(5, 4, 6, rgba), 'test')).rgb).toEqual(rgba.filter((_, i) => i % 4 !== 3));
});

it('decodes a JPEG within rounding', async () => {
  // 16 × 8 pixels of (200, 60, 20), which libjpeg decodes to (199, 60, 19).
  const jpeg = Buffer.from(
    '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDAsKDAkKCgr' +
      '/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgr/wAARCAAIABADAREAAhEBAx' +
      'EB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAf/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/8QAFgEBAQEAAAAAAAAAAAAAAAAAAAgJ/8QAFBEBAAAAAAAAAAAAAAAAA' +
      'AAAAP/aAAwDAQACEQMRAD8AgaT2kgD/2Q==',
    'base64',
  );
  const { rgb, width, height } = await decodeImage(jpeg, 'test');
  expect([width, height]).toEqual([16, 8]);
  for (let i = 0; i < rgb.length; i++)
    expect(Math.abs(rgb[i]! - [199, 60, 19][i % 3]!)).toBeLessThanOrEqual(2);
});
