import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { testFolder } from '../../../training/test/training.js';
import {
  CAMERA,
  cameraFeatures,
  cameraWriter,
  HEIGHT,
  picture,
  recordEpisodes,
  WIDTH,
} from '../../test/cameras.js';
import { LeRobotDataset } from '../dataset/dataset.js';
import { subsetIndex } from '../dataset/indices.js';
import { VideoReader } from '../video/reader.js';
import { FrameLoader } from './frame-loader.js';

const WRIST = 'observation.images.wrist';
const LENGTHS = [5, 3, 4];
const BYTES = HEIGHT * WIDTH * 3;

const folder = testFolder();
const together = join(folder, 'together');
const apart = join(folder, 'apart');
const videos = (root: string) => join(root, 'videos', CAMERA, 'chunk-000');

const open = (root: string, episodes?: number[]) =>
  LeRobotDataset.open({ root, episodes, keys: ['observation.state'] });
const rowsOf = (rows: readonly number[]) => rows.map(subsetIndex);

/** Every frame of the camera in the order of the dataset, each file decoded from its beginning to its end. */
async function decodeInOrder(root: string): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = [];
  for (const file of readdirSync(videos(root)).sort()) {
    using video = await VideoReader.open(join(videos(root), file));
    for (let i = 0; i < video.frames; i++) frames.push(video.framesByNumber([i]));
  }
  return frames;
}

/** Whether slot i of `rgb` is `expected[i]`, byte for byte. */
function expectFrames(rgb: Uint8Array, expected: readonly Uint8Array[]): void {
  expect(rgb.buffer).toBeInstanceOf(SharedArrayBuffer);
  expect(Buffer.compare(rgb, Buffer.concat(expected))).toBe(0);
}

beforeAll(async () => {
  const one = cameraWriter(together);
  await recordEpisodes(one, LENGTHS);
  one.finalize();
  const several = cameraWriter(apart, { videoFilesSizeInMb: 1e-6, video: { codec: 'h264' } });
  await recordEpisodes(several, LENGTHS);
  several.finalize();
});

test('memory that was given back is used again', async () => {
  const dataset = await open(together);
  const loader = new FrameLoader(dataset, { cameras: [CAMERA], numWorkers: 1 });
  try {
    const expected = await decodeInOrder(together);
    const first = await loader.load(rowsOf([0, 1]));
    const kept = await loader.load(rowsOf([2, 3]));
    loader.release(first);
    const { rgb } = (await loader.load(rowsOf([4, 5])))[CAMERA]!;
    expect(rgb.buffer).toBe(first[CAMERA]!.rgb.buffer);
    expectFrames(rgb, expected.slice(4, 6));
    expectFrames(kept[CAMERA]!.rgb, expected.slice(2, 4));
    const other = await loader.load(rowsOf([6]));
    expectFrames(other[CAMERA]!.rgb, expected.slice(6, 7));
  } finally {
    await loader.close();
  }
});

test('the datasets are what these tests need', () => {
  expect(readdirSync(videos(together))).toHaveLength(1);
  expect(readdirSync(videos(apart))).toHaveLength(LENGTHS.length);
  expect(cameraFeatures[WRIST].dtype).toBe('image');
});

describe.each([
  ['three episodes in one AV1 file', together],
  ['a file of H.264 per episode', apart],
])('%s', (_, root) => {
  test.each([0, 1, 2])(
    'random rows with %i workers are the frames of a decode in order',
    async (numWorkers) => {
      const expected = await decodeInOrder(root);
      const loader = new FrameLoader(await open(root), { cameras: [CAMERA], numWorkers });
      try {
        const row = fc.integer({ min: 0, max: expected.length - 1 });
        await fc.assert(
          fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 9 }), async (rows) => {
            const { rgb, height, width } = (await loader.load(rowsOf(rows)))[CAMERA]!;
            expect([height, width]).toEqual([HEIGHT, WIDTH]);
            expectFrames(
              rgb,
              rows.map((each) => expected[each]!),
            );
          }),
          { numRuns: 15, seed: 4 },
        );
      } finally {
        await loader.close();
      }
    },
  );
});

test.each([0, 2])('images of the data files and videos side by side, %i workers', async (numWorkers) => {
  const dataset = await open(together, [2, 0]);
  const loader = new FrameLoader(dataset, { cameras: [WRIST, CAMERA], numWorkers });
  try {
    const rows = rowsOf([8, 0, 4, 4, 5]);
    const loaded = await loader.load(rows);
    expect(Object.keys(loaded)).toEqual([WRIST, CAMERA]);
    const { columns } = dataset.batch(rows);
    const of = (key: string) => Array.from(columns[key]!.data as ArrayLike<number | bigint>, Number);
    const [episodes, frames] = [of('episode_index'), of('frame_index')];
    const pictures = episodes.map((episode, i) => picture(episode, frames[i]!));
    expectFrames(loaded[WRIST]!.rgb, pictures);
    // Encoding changes a value here and there, never the frame: the next one's blue differs by 16 levels.
    pictures.forEach((expected, i) => {
      const at = i * BYTES + 2;
      for (let pixel = 0; pixel < BYTES; pixel += 300) {
        expect(Math.abs(loaded[CAMERA]!.rgb[at + pixel]! - expected[2 + pixel]!)).toBeLessThan(8);
      }
    });
  } finally {
    await loader.close();
  }
});

test.each(['memory', 'folder'])('frames kept in %s are the same, at first and afterwards', async (kind) => {
  const expected = await decodeInOrder(together);
  const frameCache = kind === 'memory' ? 'memory' : join(folder, 'kept');
  for (const numWorkers of [0, 2]) {
    const loader = new FrameLoader(await open(together), { cameras: [CAMERA], numWorkers, frameCache });
    try {
      for (let round = 0; round < 3; round++) {
        const rows = [3, 11, 0, 3, 7].map((row) => (row + round) % 12);
        const { rgb } = (await loader.load(rowsOf(rows)))[CAMERA]!;
        expectFrames(
          rgb,
          rows.map((row) => expected[row]!),
        );
      }
    } finally {
      await loader.close();
    }
  }
});

test('many batches at once, each into its own memory', async () => {
  const expected = await decodeInOrder(apart);
  const loader = new FrameLoader(await open(apart), { cameras: [CAMERA], numWorkers: 2 });
  try {
    const batches = Array.from({ length: 12 }, (_, i) => [i, (i * 5) % 12, (i * 7) % 12]);
    const loaded = await Promise.all(batches.map((rows) => loader.load(rowsOf(rows))));
    loaded.forEach((frames, i) => {
      expectFrames(
        frames[CAMERA]!.rgb,
        batches[i]!.map((row) => expected[row]!),
      );
    });
  } finally {
    await loader.close();
  }
});
