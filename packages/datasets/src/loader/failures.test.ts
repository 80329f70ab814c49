import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { testFolder } from '../../../training/test/training.js';
import { CAMERA, cameraWriter, HEIGHT, recordEpisodes, WIDTH } from '../../test/cameras.js';
import { runChild } from '../../test/child.js';
import { expectCraftError } from '../../test/datasets.js';
import { writeClip } from '../../test/video.js';
import { LeRobotDataset } from '../dataset/dataset.js';
import { subsetIndex } from '../dataset/indices.js';
import type { FrameRequest } from './frame-decoder.js';
import { FrameLoader, type FrameLoaderOptions, FrameWorkers } from './frame-loader.js';

const folder = testFolder();
const whole = join(folder, 'whole');
const file = (root: string, number: number) =>
  join(root, 'videos', CAMERA, 'chunk-000', `file-00${number}.mp4`);

beforeAll(async () => {
  const writer = cameraWriter(whole, { videoFilesSizeInMb: 1e-6 });
  await recordEpisodes(writer, [4, 4]);
  writer.finalize();
});

let copies = 0;
/** A copy of the dataset that a test may damage. */
function copy(): string {
  const root = join(folder, `copy-${copies++}`);
  cpSync(whole, root, { recursive: true });
  return root;
}

const open = (root: string, episodes?: number[]) =>
  LeRobotDataset.open({ root, episodes, keys: ['observation.state'] });

async function withLoader<T>(
  root: string,
  options: Partial<FrameLoaderOptions>,
  use: (loader: FrameLoader) => Promise<T>,
): Promise<T> {
  const loader = new FrameLoader(await open(root), { cameras: [CAMERA], ...options });
  try {
    return await use(loader);
  } finally {
    await loader.close();
  }
}

const rows = [0, 5].map(subsetIndex);

test('without workers, what is under way when the loader is closed ends in an error and opens no file again', async () => {
  const loader = new FrameLoader(await open(whole), { cameras: [CAMERA], numWorkers: 0 });
  const later = expectCraftError(() => loader.load(rows), 'LOADER_CLOSED', /closed/);
  await new Promise((resolve) => setImmediate(resolve));
  await loader.close();
  await later;
});

test('a missing video is named at once, with its episode, camera and remedy', async () => {
  const root = copy();
  rmSync(file(root, 1));
  const dataset = await open(root);
  await expectCraftError(
    () => new FrameLoader(dataset, { cameras: [CAMERA] }),
    'VIDEO_MISSING',
    file(root, 1),
    'episode 1',
    CAMERA,
    "--dataset.cameras='[]'",
  );
  // Only the files of the selected episodes are required.
  await new FrameLoader(await open(root, [0]), { cameras: [CAMERA], numWorkers: 1 }).close();
});

test('what is no camera is refused', async () => {
  const dataset = await open(whole);
  for (const key of ['observation.state', 'absent']) {
    await expectCraftError(
      () => new FrameLoader(dataset, { cameras: [key] }),
      'DATASET_KEY',
      `"${key}" is no camera`,
    );
  }
});

describe.each([0, 2])('with %i workers', (numWorkers) => {
  test('a truncated video and one that is none are named in one line; other frames can still be had', async () => {
    for (const damage of [
      (path: string) => truncateSync(path, readFileSync(path).length >> 1),
      (path: string) => writeFileSync(path, ''),
      (path: string) => writeFileSync(path, 'no video\n'.repeat(500)),
    ]) {
      const root = copy();
      damage(file(root, 1));
      await withLoader(root, { numWorkers }, async (loader) => {
        await expectCraftError(() => loader.load(rows), 'VIDEO_INVALID', file(root, 1));
        expect((await loader.load([subsetIndex(2)]))[CAMERA]!.rgb.some((byte) => byte !== 0)).toBe(true);
      });
    }
  });

  test('a video that goes missing during the run', async () => {
    const root = copy();
    await withLoader(root, { numWorkers }, async (loader) => {
      rmSync(file(root, 0));
      await expectCraftError(() => loader.load(rows), 'VIDEO_MISSING', file(root, 0));
    });
  });

  test('a video of other frames than info.json says', async () => {
    const root = copy();
    await writeClip(file(root, 1), { width: 96, height: 64, fps: 10, frames: 4 });
    await withLoader(root, { numWorkers }, (loader) =>
      expectCraftError(() => loader.load(rows), 'FRAME_SIZE', file(root, 1), '64×96', `${HEIGHT}×${WIDTH}`),
    );
  });

  test('a time further from every frame than the tolerance', async () => {
    const root = copy();
    // 12 frames a second: frame 1 of the dataset (0.1 s) lies 1/60 s from the video's.
    await writeClip(file(root, 1), { width: WIDTH, height: HEIGHT, fps: 12, frames: 6 });
    const row = [subsetIndex(5)];
    await withLoader(root, { numWorkers }, (loader) =>
      expectCraftError(
        () => loader.load(row),
        'VIDEO_TIMESTAMP',
        file(root, 1),
        /no frame at 0\.1 s/,
        /tolerance/,
      ),
    );
    await withLoader(root, { numWorkers, toleranceS: 0.02 }, async (loader) => {
      expect(Object.keys(await loader.load(row))).toEqual([CAMERA]);
    });
  });
});

describe('a worker that dies', () => {
  const job = (path = 'a.mp4'): FrameRequest => ({
    tasks: [{ kind: 'video', path, times: [0, 0.1], slots: [0, 1] }],
    buffer: new SharedArrayBuffer(2 * 12),
    height: 2,
    width: 2,
    toleranceS: 1e-4,
  });
  const stub = (name: string, body: string): URL => {
    const path = join(folder, `${name}.mjs`);
    writeFileSync(path, `import { parentPort } from 'node:worker_threads';\n${body}`);
    return pathToFileURL(path);
  };
  const settings = { frameCache: null, cacheBytes: 0 };
  const deaths = {
    'throws while it works':
      "parentPort.on('message', () => { throw new Error('out of luck\\nline two'); });",
    'rejects while it works': "parentPort.on('message', async () => { throw new Error('out of luck'); });",
    'ends itself': "parentPort.on('message', () => process.exit(3));",
    'ends itself as if all were well': "parentPort.on('message', () => process.exit(0));",
    'cannot be started': "throw new Error('out of luck');",
  };

  test.each(Object.entries(deaths))('%s: its jobs fail, and all after them', async (name, body) => {
    const workers = new FrameWorkers(2, settings, stub(name, body));
    const jobs = [job(), job(), job()].map((each) =>
      expectCraftError(
        () => workers.decode(each),
        'LOADER_WORKER',
        /worker.*died: (out of luck|it ended with code [03]); .*num_workers/,
      ),
    );
    await Promise.all(jobs);
    await expectCraftError(() => workers.decode(job()), 'LOADER_WORKER');
    await workers.close();
  });

  test('jobs of the others are done', async () => {
    const half = `
      parentPort.on('message', ({ id, args: [{ tasks }] }) => {
        if (tasks[0].slots[0] === 0) process.exit(1);
        else setTimeout(() => parentPort.postMessage({ id }), 100);
      });`;
    const workers = new FrameWorkers(2, settings, stub('half', half));
    const alone = { ...job(), tasks: [{ kind: 'video' as const, path: 'b.mp4', times: [0], slots: [1] }] };
    const [dies, lives] = await Promise.allSettled([
      workers.decode({ ...job(), tasks: [{ kind: 'video', path: 'a.mp4', times: [0], slots: [0] }] }),
      workers.decode(alone),
    ]);
    expect([dies!.status, lives!.status]).toEqual(['rejected', 'fulfilled']);
    await workers.close();
  });

  test('closing fails what waits, and what comes later', async () => {
    const workers = new FrameWorkers(1, settings, stub('deaf', "parentPort.on('message', () => {});"));
    const waits = expectCraftError(() => workers.decode(job()), 'LOADER_CLOSED');
    await workers.close();
    await waits;
    await expectCraftError(() => workers.decode(job()), 'LOADER_CLOSED');
    await workers.close();
    const own = new FrameWorkers(0, settings);
    await own.close();
    await expectCraftError(() => own.decode(job()), 'LOADER_CLOSED');
  });
});

describe('the process ends by itself', () => {
  test.each(['closed', 'closed in the middle of work', 'idle', 'busy'])(
    'with a loader that is %s',
    async (state) => {
      const child = runChild('load-frames.ts', whole, state);
      let out = '';
      child.stdout!.on('data', (text) => {
        out += text;
      });
      const code = await new Promise((resolve) =>
        child.on('close', (exit, signal) => resolve(signal ?? exit)),
      );
      expect({ code, out: out.trim() }).toEqual({ code: 0, out: 'loaded 8 frames' });
    },
  );
});

test('the episodes are in files of their own, as the tests above need it', () => {
  expect(readdirSync(join(whole, 'videos', CAMERA, 'chunk-000'))).toEqual(['file-000.mp4', 'file-001.mp4']);
});
