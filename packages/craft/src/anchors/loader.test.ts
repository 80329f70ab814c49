import { join } from 'node:path';
import { getRngState, rand, scope, type Tensor } from '@craft-ft/torch';
import { beforeAll, expect, test } from 'vitest';
import { makeCameraTask } from '../../../datasets/test/cameras.js';
import { expectCraftError, makeDataset } from '../../../datasets/test/datasets.js';
import { makeTask, testFolder } from '../../../training/test/training.js';
import { localDataset, makeTeacher, type Teacher } from '../../test/anchors.js';
import { buildAnchorCache } from './build.js';
import { type AnchorLoaderOptions, createAnchorDataLoader } from './loader.js';

let root = '';
let data: string[] = [];
let teacher: Teacher;

beforeAll(async () => {
  root = testFolder();
  data = [0, 90].map((turn) =>
    makeTask(join(root, `turn${turn}`), { turn, lengths: [9, 6], mark: turn / 90 }),
  );
  teacher = await makeTeacher(join(root, 'teacher'), data[0]!);
  await buildAnchorCache({
    teacher: teacher.dir,
    datasets: data.map((folder) => localDataset(folder)),
    outputDir: join(root, 'cache'),
    kinds: ['task', 'hidden'],
    shardSize: 7,
  });
});

const values = (tensor: Tensor) => Array.from(tensor.toTypedArray() as Float32Array);
const open = (options: Partial<AnchorLoaderOptions>) =>
  createAnchorDataLoader({
    policy: teacher.policy,
    processors: teacher.processors,
    batchSize: 4,
    seed: 11,
    ...options,
  });

const sources: [string, () => Partial<AnchorLoaderOptions>][] = [
  ['one dataset', () => ({ datasets: [localDataset(data[0]!)] })],
  ['two datasets', () => ({ datasets: data.map((folder) => ({ ...localDataset(folder), weight: 1 })) })],
  ['a cache', () => ({ cacheDir: join(root, 'cache') })],
];

test.each(sources)(
  '%s: any batch again, alone, in another process; other seeds give others',
  async (_, source) => {
    const [first, second] = [await open(source()), await open(source())];
    const states = (loader: typeof first, step: number) =>
      scope(() => values(loader.batch(step)['observation.state']!));
    const seen = Array.from({ length: 12 }, (_, step) => states(first, step));
    for (const step of [7, 0, 11, 7]) {
      await second.ready(step);
      expect(states(second, step)).toEqual(seen[step]);
    }
    const other = await open({ ...source(), seed: 12 });
    expect(states(other, 0)).not.toEqual(seen[0]);
    await Promise.all([first, second, other].map((loader) => loader.close()));
  },
);

test.each(sources)('%s: draws no random numbers of libtorch', async (_, source) => {
  const before = values(getRngState());
  const loader = await open({ ...source(), needs: { kinds: ['task'] } });
  scope(() => {
    for (let step = 0; step < 5; step++) loader.batch(step);
  });
  expect(values(getRngState())).toEqual(before);
  // And what others draw changes nothing here.
  const found = scope(() => values(loader.batch(3)['observation.state']!));
  scope(() => rand([5]));
  expect(scope(() => values(loader.batch(3)['observation.state']!))).toEqual(found);
  await loader.close();
});

test('a selection and balanced tasks hold for datasets and caches alike', async () => {
  const marks = async (options: Partial<AnchorLoaderOptions>) => {
    const loader = await open({ batchSize: 8, ...options });
    const rows = scope(() =>
      Array.from(
        { length: 16 },
        (_, step) => loader.batch(step)['observation.state']!.tolist() as number[][],
      ),
    ).flat();
    await loader.close();
    return { rows, distinct: new Set(rows.map(String)).size, frames: loader.framesPerEpoch };
  };
  const two = { datasets: data.map((folder) => localDataset(folder)) };
  const cache = { cacheDir: join(root, 'cache') };
  for (const source of [two, cache]) {
    expect(await marks({ ...source, select: { numFrames: 6 } })).toMatchObject({ distinct: 6, frames: 6 });
    expect((await marks({ ...source, select: { fraction: 0.5 } })).distinct).toBe(15);
    const whole = await marks({ ...source, select: { numEpisodes: 2 } });
    expect([12, 15, 18]).toContain(whole.frames);
    expect((await marks({ ...source, balanceTasks: true })).distinct).toBe(30);
  }
});

test('cameras: the frames of the rows, with the same batch from both ways of asking', async () => {
  const camera = await makeCameraTask(join(root, 'camera'));
  const small = await makeTeacher(join(root, 'camera-teacher'), camera);
  const make = () =>
    open({ datasets: [localDataset(camera)], policy: small.policy, processors: small.processors });
  const [a, b] = [await make(), await make()];
  for (const step of [0, 1]) await a.ready(step);
  await b.ready(1);
  scope(() => {
    const [left, right] = [a.batch(1), b.batch(1)];
    expect(values(left['observation.images.top']!)).toEqual(values(right['observation.images.top']!));
  });
  await Promise.all([a.close(), b.close()]);
});

test('sources that cannot be', async () => {
  await expectCraftError(() => open({}), 'ANCHORS_MISSING', 'craft.anchor_cache_dir');
  await expectCraftError(
    () => open({ datasets: [localDataset(data[0]!)], needs: { kinds: ['hidden'] } }),
    'ANCHOR_KIND',
    '--kinds=hidden',
  );
  await expectCraftError(
    () => open({ datasets: [localDataset(makeDataset([3], { keys: { state: 'x', action: 'action' } }))] }),
    'POLICY_FEATURES',
  );
});
