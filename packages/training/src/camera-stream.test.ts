import { join } from 'node:path';
import { scope, type Tensor } from '@craft-ft/torch';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Batch } from '../../datasets/src/dataset/batch.js';
import { LeRobotDataset } from '../../datasets/src/dataset/dataset.js';
import { RandomSampler } from '../../datasets/src/dataset/samplers.js';
import { FrameLoader, type LoadedFrames } from '../../datasets/src/loader/frame-loader.js';
import { CAMERA, cameraWriter, HEIGHT, recordEpisodes, WIDTH } from '../../datasets/test/cameras.js';
import type { PolicyFeatures } from '../../policies/src/config/policy-fields.js';
import { imageTransformsConfigSchema } from '../../policies/src/images/transform-config.js';
import type { Texts } from '../../policies/src/processors/step.js';
import { testFolder } from '../test/training.js';
import { CameraBatches, DataStream, type Preprocess } from './data-stream.js';

const features: PolicyFeatures = { [CAMERA]: { type: 'VISUAL', shape: [3, HEIGHT, WIDTH] } };

let dataset: LeRobotDataset;
beforeAll(async () => {
  const writer = cameraWriter(join(testFolder(), 'data'));
  await recordEpisodes(writer, [5, 6]);
  writer.finalize();
  dataset = await LeRobotDataset.open({ root: writer.root, keys: ['observation.state'] });
});

/** Counts the batches that are asked for, and lets the test decide when each is there. */
class SlowLoader {
  readonly asked: (() => void)[] = [];
  loadBatch({ tasks }: Batch): Promise<Record<string, LoadedFrames>> {
    const rgb = new Uint8Array(new SharedArrayBuffer(tasks.length * HEIGHT * WIDTH * 3));
    return new Promise((resolve) => {
      this.asked.push(() => resolve({ [CAMERA]: { rgb, height: HEIGHT, width: WIDTH } }));
    });
  }
  readonly released: unknown[] = [];
  release(frames: unknown): void {
    this.released.push(frames);
  }
  close = async () => {};
}

const streamOf = (
  loader: unknown,
  batches: CameraBatches,
  prefetch?: number,
  preprocess: Preprocess = (batch) => batch,
) =>
  new DataStream(dataset, new RandomSampler(dataset, { seed: 1 }), 2, preprocess, {
    loader: loader as FrameLoader,
    batches,
    prefetch,
  });

describe('batches decoded ahead', () => {
  const batches = new CameraBatches({ ...features }, null, 0);

  test.each([1, 2, 5])('are at most %i besides the one in use', async (prefetch) => {
    const loader = new SlowLoader();
    const stream = streamOf(loader, batches, prefetch);
    for (let step = 0; step < 6; step++) {
      const ready = stream.ready(step);
      expect(loader.asked).toHaveLength(step + prefetch + 1);
      loader.asked[step]!();
      await ready;
      await stream.ready(step);
      expect(loader.asked).toHaveLength(step + prefetch + 1);
    }
  });

  test('give their memory back when the next is there', async () => {
    const loader = new SlowLoader();
    const stream = streamOf(loader, batches, 1);
    for (let step = 0; step < 3; step++) {
      const ready = stream.ready(step);
      loader.asked[step]!();
      expect(loader.released).toHaveLength(Math.max(0, step - 1));
      await ready;
      // Asking twice gives the same batch.
      const [first, again] = scope(() => [stream.batch(step)[CAMERA]!, stream.batch(step)[CAMERA]!]);
      expect(first!.equal(again!)).toBe(true);
    }
    expect(loader.released).toHaveLength(2);
  });

  test('give their memory back also when they are never used', async () => {
    const loader = new SlowLoader();
    const stream = streamOf(loader, batches, 2);
    const first = stream.ready(0);
    for (const arrive of loader.asked.slice(0, 2)) arrive();
    await first;
    // Steps 1 and 2 were decoded ahead, 2 is still under way.
    const far = stream.ready(50);
    loader.asked[2]!();
    loader.asked[3]!();
    await far;
    expect(loader.released).toHaveLength(3);
  });

  test('come with the instruction of each sample', async () => {
    const loader = new SlowLoader();
    const texts: Texts[] = [];
    const stream = streamOf(loader, batches, 1, (batch, own) => {
      texts.push(own);
      return batch;
    });
    const ready = stream.ready(0);
    loader.asked[0]!();
    await ready;
    scope(() => stream.batch(0));
    expect(texts).toEqual([{ task: ['push', 'push'] }]);
  });

  test('end with the last step of the run', async () => {
    const loader = new SlowLoader();
    const stream = streamOf(loader, batches);
    const ready = stream.ready(3, 4);
    expect(loader.asked).toHaveLength(2);
    loader.asked[0]!();
    await ready;
  });

  test('of another place are dropped when the stream goes back', async () => {
    const loader = new SlowLoader();
    const stream = streamOf(loader, batches);
    const far = stream.ready(100);
    loader.asked[0]!();
    await far;
    const back = stream.ready(0);
    expect(loader.asked).toHaveLength(6);
    loader.asked[3]!();
    await back;
    // The batches after step 100 are asked for anew.
    void stream.ready(100);
    expect(loader.asked).toHaveLength(9);
  });

  test('whose frames cannot be had fail the step that needs them, not one before', async () => {
    let asked = 0;
    const loader = {
      loadBatch: () => (asked++ === 1 ? Promise.reject(new Error('no frame')) : Promise.resolve({})),
    };
    const stream = streamOf(loader, batches);
    await stream.ready(0);
    await expect(stream.ready(1)).rejects.toThrow('no frame');
  });

  test('must have been waited for', () => {
    expect(() => scope(() => streamOf(new SlowLoader(), batches).batch(0))).toThrow(
      /step 0 were not waited for/,
    );
  });
});

test('images are [B, 3, H, W] in [0, 1], those of their rows, at the size of the policy, whatever the number of workers', async () => {
  const transforms = imageTransformsConfigSchema.parse({ enable: true });
  const small = { [CAMERA]: { type: 'VISUAL' as const, shape: [3, 16, 24] } };
  for (const [sized, changes] of [
    [{ ...features }, null],
    [small, null],
    [{ ...features }, transforms],
  ] as const) {
    const runs: number[][] = [];
    for (const numWorkers of [0, 1, 2]) {
      const loader = new FrameLoader(dataset, { cameras: [CAMERA], numWorkers });
      const stream = streamOf(loader, new CameraBatches(sized, changes, 7));
      const seen: number[] = [];
      // Out of order for one of them: a batch is a function of its step alone.
      for (const step of numWorkers === 1 ? [0, 1, 2, 3, 4] : [4, 0, 3, 1, 2]) {
        await stream.ready(step);
        scope(() => {
          const batch = stream.batch(step);
          const images = batch[CAMERA] as Tensor;
          expect(images.shape).toEqual([2, ...sized[CAMERA].shape]);
          expect(images.dtype).toBe('float32');
          const values = images.toTypedArray() as Float32Array;
          expect(values.every((value) => value >= 0 && value <= 1)).toBe(true);
          seen[step] = values.reduce((sum, value, i) => sum + value * Math.sin(i), 0);
          if (changes !== null) return;
          // The blue of a frame tells which it is.
          const blue = images.select(1, 2).mean([1, 2]).tolist() as number[];
          const states = batch['observation.state']!.tolist() as [number, number][];
          states.forEach(([episode, frame], i) => {
            expect(blue[i]! * 255).toBeCloseTo((episode * 64 + frame * 16) % 256, -1);
          });
        });
      }
      await stream.close();
      runs.push(seen);
    }
    expect(runs[1]).toEqual(runs[0]);
    expect(runs[2]).toEqual(runs[0]);
  }
});
