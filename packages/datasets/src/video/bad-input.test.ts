import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { numberIn, writeClip } from '../../test/video.js';
import { decodeImage } from './image.js';
import { VideoReader } from './reader.js';

const folder = mkdtempSync(join(tmpdir(), 'craft-video-'));
const file = (name: string) => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

beforeAll(async () => {
  await writeClip(file('h264.mp4'), { frames: 60, faststart: true });
  await writeClip(file('av1.mp4'), { encoder: 'libsvtav1', frames: 60, gop: 2, faststart: true });
  await writeClip(file('header-last.mp4'), { frames: 60 });
});

/** Writes a copy of `name` that `change` has changed. */
function damaged(name: string, as: string, change: (bytes: Buffer) => Uint8Array): string {
  writeFileSync(file(as), change(readFileSync(file(name))));
  return file(as);
}

async function refusal(path: string): Promise<{ code: string; message: string }> {
  const error = await VideoReader.open(path).then(
    (video) => {
      video.close();
      return undefined;
    },
    (reason: unknown) => reason,
  );
  expect(error, `${path} was accepted`).toBeDefined();
  const { code, message } = error as { code: string; message: string };
  expect(message.startsWith(`${path}: `)).toBe(true);
  expect(message).not.toContain('\n');
  return { code, message };
}

it('names a missing file', async () => {
  expect((await refusal(file('absent.mp4'))).code).toBe('VIDEO_MISSING');
});

it('refuses an empty file, a folder and what is no video', async () => {
  writeFileSync(file('empty.mp4'), '');
  mkdirSync(file('folder.mp4'));
  writeFileSync(file('text.mp4'), 'not a video\n'.repeat(1000));
  writeFileSync(file('zeros.mp4'), Buffer.alloc(100_000));
  for (const name of ['empty.mp4', 'folder.mp4', 'text.mp4', 'zeros.mp4']) {
    expect((await refusal(file(name))).code).toBe('VIDEO_INVALID');
  }
  expect((await refusal(file('empty.mp4'))).message).toContain('empty');
});

it.each(['h264.mp4', 'av1.mp4'])('refuses %s cut off anywhere', async (name) => {
  const { length } = readFileSync(file(name));
  for (const kept of [8, 40, 0.1 * length, 0.5 * length, 0.9 * length, length - 1].map(Math.floor)) {
    const path = damaged(name, `cut-${kept}-${name}`, (bytes) => bytes.subarray(0, kept));
    expect((await refusal(path)).code).toBe('VIDEO_INVALID');
  }
});

it('refuses a cut header at the end of a file, unless every frame is there', async () => {
  const { length } = readFileSync(file('header-last.mp4'));
  let refused = 0;
  for (let kept = length - 1; kept > length / 2; kept -= 37) {
    const path = damaged('header-last.mp4', 'cut-header.mp4', (bytes) => bytes.subarray(0, kept));
    try {
      using video = await VideoReader.open(path);
      const all = Array.from({ length: 60 }, (_, i) => i);
      const rgb = video.framesAt(all.map((i) => i / 30));
      expect(all.map((i) => numberIn(rgb, video.width, video.height, i * video.frameBytes))).toEqual(all);
    } catch (error) {
      expect(error).toMatchObject({ code: 'VIDEO_INVALID' });
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(5);
});

it('refuses a file without a video stream', async () => {
  const samples = Buffer.alloc(8000);
  const header = Buffer.from(
    'RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data',
    'latin1',
  );
  const sized = Buffer.concat([header, Buffer.from([0x40, 0x1f, 0, 0]), samples]);
  sized.writeUInt32LE(sized.length - 8, 4);
  writeFileSync(file('sound.mp4'), sized);
  expect((await refusal(file('sound.mp4'))).message).toContain('no video stream');
});

it('names the codec that it has no decoder for', async () => {
  const path = damaged('h264.mp4', 'codec.mp4', (bytes) => {
    const at = bytes.indexOf('avc1', bytes.indexOf('stsd'));
    bytes.write('zzzz', at, 'latin1');
    return bytes;
  });
  expect((await refusal(path)).message).toContain('no decoder');
});

it.each(['h264.mp4', 'av1.mp4'])(
  'refuses damaged frames of %s, whichever, and stays usable',
  async (name) => {
    for (let seed = 1; seed <= 4; seed++) {
      const path = damaged(name, `damaged-${seed}-${name}`, (bytes) => {
        const from = bytes.indexOf('mdat') + 4;
        const length = bytes.length - from;
        for (let i = 0; i < length / 40; i++) bytes[from + ((i * 7919 * seed) % length)]! ^= 0x5a;
        return bytes;
      });
      using video = await VideoReader.open(path);
      let refused = 0;
      for (let frame = 0; frame < video.frames; frame++) {
        try {
          video.framesByNumber([frame]);
        } catch (error) {
          refused++;
          expect(error).toMatchObject({ code: 'VIDEO_INVALID' });
          expect((error as Error).message).toContain(path);
        }
      }
      expect(refused).toBeGreaterThan(0);
    }
  },
);

it('refuses times that no frame is near, naming the nearest', async () => {
  using video = await VideoReader.open(file('h264.mp4'));
  const one = 1 / 30;
  expect(() => video.framesAt([one + 5e-5, one - 5e-5])).not.toThrow();
  expect(() => video.framesAt([one + 0.01], { toleranceS: 0.011 })).not.toThrow();
  for (const time of [one + 2e-4, one / 2, -0.01, 2.1, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() => video.framesAt([0, time])).toThrow(
      expect.objectContaining({ code: 'VIDEO_TIMESTAMP', message: expect.stringContaining(video.path) }),
    );
  }
  expect(() => video.framesAt([one + 0.01])).toThrow(
    /no frame at 0\.043333 s; the nearest, number 1, is at 0\.033333 s/,
  );
});

it('refuses to write beyond the array and to be used when closed', async () => {
  const video = await VideoReader.open(file('h264.mp4'));
  const into = new Uint8Array(2 * video.frameBytes);
  expect(() => video.framesByNumber([0, 1], { into, offset: 1 })).toThrow(RangeError);
  expect(() => video.framesByNumber([60])).toThrow(RangeError);
  video.close();
  video.close();
  expect(() => video.framesByNumber([0])).toThrow(expect.objectContaining({ code: 'VIDEO_CLOSED' }));
});

it('refuses what is no image', async () => {
  const cut = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex');
  for (const bytes of [new Uint8Array(), Buffer.from('hello'), cut, Buffer.from('ffd8ffe0', 'hex')]) {
    await expect(decodeImage(bytes, 'episode 3, frame 5')).rejects.toMatchObject({
      code: 'IMAGE_INVALID',
      message: expect.stringContaining('episode 3, frame 5: the image'),
    });
  }
});
