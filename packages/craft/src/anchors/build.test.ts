import { readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { getRngState, noGrad, scope, type Tensor } from '@craft-ft/torch';
import { beforeAll, expect, test } from 'vitest';
import { makeCameraTask } from '../../../datasets/test/cameras.js';
import { expectCraftError } from '../../../datasets/test/datasets.js';
import { filesOf, makeTask, testFolder } from '../../../training/test/training.js';
import { localDataset, makeTeacher, type Teacher, TINY_ACT } from '../../test/anchors.js';
import { extractFeatures } from '../features.js';
import { type BuildAnchorOptions, buildAnchorCache } from './build.js';
import { AnchorCacheDataset } from './cache.js';
import type { AnchorKind } from './config.js';
import { createAnchorDataLoader } from './loader.js';

const KINDS: AnchorKind[] = ['task', 'hidden', 'feature', 'action'];
const FEATURES = { layers: [-2, -1], poolings: ['mean_masked', 'last_token'] } as const;

let root = '';
let dataset = '';
let teacher: Teacher;

beforeAll(async () => {
  root = testFolder();
  dataset = makeTask(join(root, 'data'), { lengths: [7, 9, 8] });
  teacher = await makeTeacher(join(root, 'teacher'), dataset);
});

function build(name: string, changes: Partial<BuildAnchorOptions> = {}) {
  return buildAnchorCache({
    teacher: teacher.dir,
    datasets: [localDataset(dataset)],
    outputDir: join(root, name),
    kinds: KINDS,
    ...FEATURES,
    dtype: 'float32',
    numAnchors: 20,
    batchSize: 4,
    shardSize: 8,
    seed: 3,
    reading: { onWarning: () => {} },
    ...changes,
  });
}

const load = (name: string, changes: object = {}) =>
  createAnchorDataLoader({
    cacheDir: join(root, name),
    policy: teacher.policy,
    processors: teacher.processors,
    batchSize: 5,
    seed: 1,
    needs: { kinds: KINDS },
    ...changes,
  });

const values = (tensor: Tensor) => Array.from(tensor.toTypedArray() as Float32Array);

test('the reader gives what the writer was told, for every kind', async () => {
  const metadata = await build('all');
  expect(metadata).toMatchObject({
    num_samples: 20,
    kinds: KINDS,
    shards: [{ count: 8 }, { count: 8 }, { count: 4 }],
    hidden: { hidden_size: 16, num_states: 3, layers: [-2, -1] },
    feature: { layer: -2, pooling: 'mean_masked' },
    action: { chunk: 4, dim: 2 },
    tasks: ['turn 0'],
  });
  const loader = await load('all');
  expect(loader.framesPerEpoch).toBe(20);
  const { policy } = teacher;
  scope(() =>
    noGrad(() => {
      policy.eval();
      for (let step = 0; step < 4; step++) {
        const batch = loader.batch(step);
        expect(batch['anchor.hidden']!.shape).toEqual([5, 2, 2, 16]);
        const hidden = extractFeatures(policy, batch, FEATURES);
        // Other batches, other sums: equal up to rounding.
        expect(batch['anchor.hidden']!.sub(hidden).abs().max().item()).toBeLessThan(1e-5);
        expect(values(batch['anchor.feature']!)).toEqual(
          values(batch['anchor.hidden']!.select(1, 0).select(1, 0)),
        );
        expect(batch['anchor.action']!.sub(policy.predictActionChunk(batch)).abs().max().item()).toBeLessThan(
          1e-5,
        );
        expect(batch.action!.shape).toEqual([5, 4, 2]);
        expect(batch.action_is_pad!.dtype).toBe('bool');
        expect(Number.isFinite(policy.call(batch).loss.item())).toBe(true);
      }
      policy.train();
    }),
  );
  await loader.close();
  // The second moment is that of the stored features.
  using cache = AnchorCacheDataset.open(join(root, 'all'));
  scope(() => {
    const { tensors } = cache.read(Array.from({ length: 20 }, (_, i) => i));
    const moment = tensors['anchor.hidden']!.square().mean([0, 3]).tolist() as number[][];
    for (const [i, value] of moment.flat().entries())
      expect(metadata.hidden!.second_moment.flat()[i]).toBeCloseTo(value, 5);
    // Frames are those of the dataset.
    const { episode, frame } = metadata.frames!;
    expect(new Set(episode.map((e, i) => `${e}/${frame[i]}`)).size).toBe(20);
  });
  expect(cache.verify()).toEqual([]);
});

test('anchors of a cache are the frames of the dataset, processed alike', async () => {
  await build('task', { kinds: ['task'], numAnchors: 100 });
  const options = { batchSize: 24, needs: { kinds: ['task'] as const } };
  const cached = await load('task', options);
  const plain = await createAnchorDataLoader({
    datasets: [localDataset(dataset)],
    policy: teacher.policy,
    processors: teacher.processors,
    batchSize: 24,
    seed: 1,
  });
  scope(() => {
    const [a, b] = [cached.batch(0), plain.batch(0)];
    const sorted = (tensor: Tensor) => (tensor.view([24, -1]).tolist() as number[][]).map(String).sort();
    for (const key of ['observation.state', 'action', 'action_is_pad'])
      expect(sorted(a[key]!)).toEqual(sorted(b[key]!));
  });
  expect(plain.metadata).toBeNull();
  await Promise.all([cached.close(), plain.close()]);
});

test('camera images are stored as bytes at the size the policy sees, and the teacher sees the stored ones', async () => {
  const data = await makeCameraTask(join(root, 'camera-data'));
  const small = await makeTeacher(join(root, 'camera-teacher'), data, {
    ...TINY_ACT,
    input_features: {
      'observation.state': { type: 'STATE', shape: [2] },
      'observation.images.top': { type: 'VISUAL', shape: [3, 32, 32] },
    },
    normalization_mapping: { VISUAL: 'IDENTITY', STATE: 'MEAN_STD', ACTION: 'MEAN_STD' },
  });
  const metadata = await build('camera', {
    teacher: small.dir,
    datasets: [localDataset(data)],
    poolings: ['mean_image_tokens'],
    numAnchors: 6,
  });
  expect(metadata.images).toEqual({ 'observation.images.top': { height: 32, width: 32 } });
  expect(metadata.tensors['observation.images.top']).toEqual({ dtype: 'U8', shape: [3, 32, 32] });
  const loader = await load('camera', { policy: small.policy, processors: small.processors, batchSize: 3 });
  scope(() =>
    noGrad(() => {
      const batch = loader.batch(0);
      const hidden = extractFeatures(small.policy, batch, {
        layers: [-2, -1],
        poolings: ['mean_image_tokens'],
      });
      expect(batch['anchor.hidden']!.sub(hidden).abs().max().item()).toBeLessThan(1e-5);
    }),
  );
  await loader.close();
});

test('an interrupted build goes on where it stopped and ends in the same bytes', async () => {
  await build('whole');
  let samples = 0;
  const stop = (_: string, done: number) => {
    samples = done;
    if (done > 8) throw new Error('power failure');
  };
  await expect(build('parts', { onProgress: stop })).rejects.toThrow('power failure');
  expect(samples).toBeGreaterThan(8);
  await expectCraftError(
    () => load('parts'),
    'ANCHOR_CACHE_INCOMPLETE',
    'run the same craft anchors build again',
  );
  // A file left by a crash between writing and renaming, and a shard cut off by a bad disk.
  writeFileSync(join(root, 'parts', '.tmp-1-ab'), 'x');
  const { mtimeMs } = statSync(join(root, 'parts', 'shard_00000.safetensors'));
  const stages: number[] = [];
  await build('parts', { onProgress: (_, done) => stages.push(done) });
  expect(statSync(join(root, 'parts', 'shard_00000.safetensors')).mtimeMs).toBe(mtimeMs);
  expect(filesOf(join(root, 'parts'))).toEqual(filesOf(join(root, 'whole')));
  // Complete: nothing is written again. A damaged shard is.
  const file = join(root, 'parts', 'shard_00001.safetensors');
  const before = statSync(file).mtimeMs;
  await build('parts');
  expect(statSync(file).mtimeMs).toBe(before);
  truncateSync(file, 100);
  await build('parts');
  expect(filesOf(join(root, 'parts'))).toEqual(filesOf(join(root, 'whole')));
});

test('another cache is not overwritten unasked, other files never', async () => {
  await build('other');
  await expectCraftError(() => build('other', { seed: 4 }), 'ANCHOR_CACHE_EXISTS', '--overwrite');
  expect((await build('other', { seed: 4, overwrite: true })).seed).toBe(4);
  expect((await build('other', { seed: 4 })).seed).toBe(4);
  await expectCraftError(() => build('.', { overwrite: true }), 'ANCHOR_CACHE_EXISTS', 'other files');
});

test('batch size and progress change nothing; fewer frames than asked for are all of them', async () => {
  const metadata = await build('more', { numAnchors: 1000, batchSize: 7 });
  expect(metadata.num_samples).toBe(24);
  expect(metadata.shards.map(({ count }) => count)).toEqual([8, 8, 8]);
});

test('building draws no random numbers and leaves a float16 cache of half the size', async () => {
  const before = values(getRngState());
  await build('half', { dtype: 'float16', kinds: ['hidden'] });
  await build('full', { dtype: 'float32', kinds: ['hidden'] });
  expect(values(getRngState())).toEqual(before);
  using half = AnchorCacheDataset.open(join(root, 'half'));
  using full = AnchorCacheDataset.open(join(root, 'full'));
  expect(half.metadata.tensors['anchor.hidden']!.dtype).toBe('F16');
  expect(half.metadata.tensors.action).toBeUndefined();
  scope(() => {
    const [a, b] = [half, full].map((cache) => cache.read([3, 19]).tensors['anchor.hidden']!);
    expect(a!.to({ dtype: 'float32' }).sub(b!).abs().max().item()).toBeLessThan(2e-3);
  });
});

test('a cache that does not fit is refused, and the message says what to build', async () => {
  await build('fit', { kinds: ['hidden'], layers: [-2], poolings: ['mean_masked'] });
  const needs = (kinds: AnchorKind[], features?: object) => load('fit', { needs: { kinds, features } });
  await expectCraftError(() => needs(['action']), 'ANCHOR_KIND', 'has hidden', '--kinds=action');
  await expectCraftError(
    () => needs(['hidden'], { layers: [-1], poolings: ['mean_masked'] }),
    'ANCHOR_FEATURES',
    'layers -2, this run compares -1',
    '--layers=[-1]',
  );
  await expectCraftError(
    () => needs(['hidden'], { layers: [-2], poolings: ['last_token'] }),
    'ANCHOR_FEATURES',
    'poolings',
  );
  // Layer 1 of 3 states is layer −2; a hidden target of one layer is a feature too.
  const loader = await needs(['hidden', 'feature'], { layers: [1], poolings: ['mean_masked'] });
  scope(() => {
    const batch = loader.batch(0);
    expect(values(batch['anchor.feature']!)).toEqual(values(batch['anchor.hidden']!));
    expect(batch['anchor.feature']!.shape).toEqual([5, 16]);
  });
  await loader.close();
  const wide = await makeTeacher(join(root, 'wide'), dataset, { ...TINY_ACT, dim_model: 32 });
  await expectCraftError(
    () => load('fit', { policy: wide.policy, needs: { kinds: ['hidden'] } }),
    'ANCHOR_GEOMETRY',
    /16 wide.*32 wide/,
  );
  const deep = await makeTeacher(join(root, 'deep'), dataset, { ...TINY_ACT, n_encoder_layers: 3 });
  await expectCraftError(
    () => load('fit', { policy: deep.policy, needs: { kinds: ['hidden'] } }),
    'ANCHOR_GEOMETRY',
    /2 layers.*3 layers/,
  );
  await build('chunk', { kinds: ['task', 'action'] });
  const long = await makeTeacher(join(root, 'long'), dataset, { ...TINY_ACT, chunk_size: 8 });
  for (const kind of ['task', 'action'] as const)
    await expectCraftError(
      () => load('chunk', { policy: long.policy, needs: { kinds: [kind] } }),
      'ANCHOR_GEOMETRY',
      /\[4, 2\].*\[8, 2\]/,
    );
});

test('targets of another normalisation are stale; recorded frames are not', async () => {
  await build('stale', { kinds: ['task', 'hidden'] });
  const other = await makeTeacher(join(root, 'stale-other'), makeTask(join(root, 'data2'), { seed: 9 }));
  const { processors } = other;
  await expectCraftError(
    () => load('stale', { processors, needs: { kinds: ['hidden'] } }),
    'ANCHOR_STALE',
    'normalizer_processor',
    'build the cache anew',
  );
  const loader = await load('stale', { processors, needs: { kinds: ['task'] } });
  await loader.close();
});

test('missing, damaged and foreign caches are errors that name the file', async () => {
  await expectCraftError(() => load('nowhere'), 'ANCHOR_CACHE_MISSING', 'nowhere');
  await build('broken');
  const file = join(root, 'broken', 'shard_00001.safetensors');
  const bytes = readFileSync(file);
  truncateSync(file, bytes.length - 1);
  await expectCraftError(() => load('broken'), 'ANCHOR_SHARD_INVALID', 'shard_00001.safetensors: damaged');
  rmSync(file);
  await expectCraftError(() => load('broken'), 'ANCHOR_SHARD_MISSING', 'shard_00001.safetensors');
  // Bits that flipped are found by their hash.
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(file, bytes);
  using cache = AnchorCacheDataset.open(join(root, 'broken'));
  expect(cache.verify()).toEqual(['shard_00001.safetensors']);
  const metadata = join(root, 'broken', 'metadata.json');
  const text = readFileSync(metadata, 'utf8');
  const edit = (change: (json: Record<string, unknown>) => void) => {
    const json = JSON.parse(text) as Record<string, unknown>;
    change(json);
    writeFileSync(metadata, JSON.stringify(json));
  };
  edit((json) => {
    json.version = 2;
  });
  await expectCraftError(() => load('broken'), 'ANCHOR_CACHE_INVALID', 'version');
  edit((json) => {
    json.num_samples = 0;
  });
  await expectCraftError(() => load('broken'), 'ANCHOR_CACHE_INVALID', 'num_samples');
  edit((json) => {
    json.hidden = null;
  });
  await expectCraftError(() => load('broken'), 'ANCHOR_CACHE_INVALID', 'hidden is null');
  writeFileSync(metadata, JSON.stringify({ num_samples: 3, teacher_policy_path: 'x' }));
  await expectCraftError(() => load('broken'), 'ANCHOR_CACHE_FOREIGN', 'craft anchors import');
  writeFileSync(metadata, '{');
  await expectCraftError(() => load('broken'), 'ANCHOR_CACHE_INVALID');
});
