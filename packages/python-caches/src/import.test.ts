import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AnchorCacheDataset } from '@craft-ft/craft';
import { scope } from '@craft-ft/torch';
import { beforeAll, expect, test } from 'vitest';
import { expectCraftError } from '../../datasets/test/datasets.js';
import { filesOf, testFolder } from '../../training/test/training.js';
import { importAnchorCache } from './import.js';

const fixtures = fileURLToPath(new URL('../test/fixtures/python-cache', import.meta.url));
const CAMERA = 'observation.images.top';
let folder = '';

beforeAll(() => {
  folder = testFolder();
});

function convert(kind: string, changes: object = {}, from = join(fixtures, kind)) {
  const lines: string[] = [];
  const onWarning = (line: string) => void lines.push(line);
  const outputDir = join(folder, `${kind}-${Math.random()}`);
  return importAnchorCache({ from, outputDir, shardSize: 2, onWarning, ...changes }).then((metadata) => ({
    metadata,
    lines,
    outputDir,
  }));
}

test('teacher_hidden: layers counted anew, the text vector of a padding token left out', async () => {
  const { metadata, lines, outputDir } = await convert('hidden');
  expect(metadata).toMatchObject({
    kinds: ['hidden'],
    preprocessed: true,
    num_samples: 5,
    shards: [{ count: 2 }, { count: 2 }, { count: 1 }],
    hidden: { layers: [17, 18], poolings: ['mean_image_tokens'], hidden_size: 6 },
    tasks: ['Grasp the item'],
    images: { [CAMERA]: { height: 8, width: 8 } },
    teacher: { path: 'teacher' },
    seed: 42,
  });
  expect(lines).toEqual([expect.stringContaining('padding token')]);
  using cache = AnchorCacheDataset.open(outputDir);
  scope(() => {
    // Samples 2 and 3 are of different files.
    const { tensors } = cache.read([2, 3]);
    const hidden = tensors['anchor.hidden']!;
    expect(hidden.shape).toEqual([2, 2, 1, 6]);
    const [last, first] = [hidden.select(0, 0), hidden.select(0, 1)].map((values) =>
      values.select(0, 0).select(0, 0),
    );
    expect(last!.tolist()).toEqual([4.8, 4.9, 5, 5.1, 5.2, 5.3].map((value) => expect.closeTo(value, 2)));
    expect(first!.tolist()).toEqual([1, 1.1, 1.2, 1.3, 1.4, 1.5].map((value) => expect.closeTo(value, 2)));
    const images = tensors[CAMERA]!;
    expect(images.shape).toEqual([2, 3, 8, 8]);
    expect(images.min().item()).toBeGreaterThanOrEqual(0);
    expect(images.max().item()).toBeLessThanOrEqual(1);
    const tokens = tensors['observation.language.tokens']!;
    expect(tokens.shape).toEqual([2, 8]);
    const lengths = tensors['observation.language.attention_mask']!.sum([1]).tolist();
    expect(lengths).toEqual([5, 3].map(BigInt).map(Number));
  });
});

test('target_features, transposed in the file, float16', async () => {
  const { metadata, outputDir, lines } = await convert('features', { dtype: 'float32' });
  expect(metadata.feature).toMatchObject({ layer: -2, pooling: 'mean_masked', hidden_size: 6 });
  expect(lines).toEqual([]);
  using cache = AnchorCacheDataset.open(outputDir);
  scope(() => {
    expect(cache.read([1]).tensors['anchor.feature']!.tolist()).toEqual([[1, 4, 7, 10, 13, 16]]);
    expect(cache.read([4]).tensors['anchor.feature']!.tolist()).toEqual([[1, 3, 5, 7, 9, 11]]);
  });
});

test('labels: prompt and action tokens apart', async () => {
  const { metadata, outputDir } = await convert('labels');
  expect(metadata.tokens).toEqual({ source: 'teacher', length: 3 });
  expect(metadata.tasks).toEqual(['prompt 0', 'prompt 1', 'prompt 2']);
  using cache = AnchorCacheDataset.open(outputDir);
  scope(() => {
    const { tensors } = cache.read([0, 1]);
    expect(tensors['anchor.token_labels']!.tolist()).toEqual([
      [2, 200, 203],
      [2, 201, 0],
    ]);
    expect(tensors['anchor.token_mask']!.to({ dtype: 'int64' }).tolist()).toEqual([
      [1, 1, 1],
      [1, 1, 0],
    ]);
    const prompt = tensors['observation.language.tokens']!.tolist() as number[][];
    expect(prompt[0]!.filter((token) => token >= 200)).toEqual([]);
    expect(prompt[0]![0]).toBe(2);
  });
});

test('an import that is complete is left alone, an interrupted one is made again', async () => {
  const { metadata, outputDir } = await convert('hidden');
  const before = filesOf(outputDir);
  expect((await convert('hidden', { outputDir })).metadata).toEqual(metadata);
  await expectCraftError(
    () => convert('hidden', { outputDir, shardSize: 3 }),
    'ANCHOR_CACHE_EXISTS',
    '--overwrite',
  );
  const fails = () => {
    throw new Error('power failure');
  };
  const half = join(folder, 'half');
  await expect(convert('hidden', { outputDir: half, onProgress: fails })).rejects.toThrow('power failure');
  await convert('hidden', { outputDir: half });
  expect(filesOf(half)).toEqual(before);
});

test('what is no such cache is refused by file and reason', async () => {
  const broken = join(folder, 'broken');
  mkdirSync(broken);
  const refused = (reason: string, code = 'ANCHOR_IMPORT') =>
    expectCraftError(() => convert('hidden', {}, broken), code, reason);
  await refused('metadata.json: the file is missing');
  writeFileSync(join(broken, 'metadata.json'), '{"image_keys": ["observation.images.top"]}');
  await refused('neither num_samples nor num_anchors');
  writeFileSync(join(broken, 'metadata.json'), '{"num_samples": 5}');
  await refused('no shard_\\*.pt'.replace('\\', ''));
  copyFileSync(join(fixtures, 'hidden', 'shard_0000.pt'), join(broken, 'shard_0000.pt'));
  await refused('--image_key');
  writeFileSync(
    join(broken, 'metadata.json'),
    '{"num_samples": 5, "image_keys": ["observation.images.top"]}',
  );
  copyFileSync(join(fixtures, 'features', 'shard_0000.pt'), join(broken, 'shard_0001.pt'));
  await refused('another kind');
  rmSync(join(broken, 'shard_0001.pt'));
  const bytes = readFileSync(join(broken, 'shard_0000.pt'));
  writeFileSync(join(broken, 'shard_0000.pt'), bytes.subarray(0, 2000));
  await refused('its end is missing', 'TORCH_FILE_INVALID');
  writeFileSync(join(broken, 'shard_0000.pt'), bytes);
  // Fewer samples than promised: said, and no empty shard.
  const { metadata, lines } = await convert('hidden', {}, broken);
  expect(metadata.num_samples).toBe(3);
  expect(lines).toContainEqual(expect.stringContaining('promises 5 samples, the shards hold 3'));
});

// The system's torch, or the one that set-up installed in the project.
const ours = fileURLToPath(new URL('../../../../../.libtorch', import.meta.url));
const env = { ...process.env, PYTHONPATH: [process.env.PYTHONPATH, ours].filter(Boolean).join(delimiter) };
const python = ['/usr/bin/python3', 'python3'].find(
  (name) => spawnSync(name, ['-c', 'import torch'], { stdio: 'ignore', env }).status === 0,
);

test.skipIf(python === undefined)(
  'caches written by the PyTorch at hand read as the stored ones do',
  async () => {
    const fresh = join(folder, 'fresh');
    execFileSync(python!, [join(fixtures, 'make.py'), fresh], { env });
    for (const kind of ['hidden', 'features', 'labels']) {
      const [stored, made] = [await convert(kind), await convert(kind, {}, join(fresh, kind))];
      expect(made.metadata.shards).toHaveLength(stored.metadata.shards.length);
      using a = AnchorCacheDataset.open(stored.outputDir);
      using b = AnchorCacheDataset.open(made.outputDir);
      scope(() => {
        const rows = Array.from({ length: a.length }, (_, i) => i);
        const [left, right] = [a.read(rows).tensors, b.read(rows).tensors];
        for (const [name, values] of Object.entries(left))
          expect(right[name]!.tolist()).toEqual(values.tolist());
      });
    }
  },
);
