import { join } from 'node:path';
import type { Pi0FastPolicy } from '@craft-ft/policies';
import { noGrad, scope, type Tensor } from '@craft-ft/torch';
import { beforeAll, expect, test } from 'vitest';
import { CAMERA, makeCameraTask } from '../../../datasets/test/cameras.js';
import { smallConfig, smallFast } from '../../../policies/test/pi0-fast-small.js';
import { testFolder } from '../../../training/test/training.js';
import { localDataset, makeTeacher, type Teacher } from '../../test/anchors.js';
import { extractFeatures } from '../features.js';
import { buildAnchorCache } from './build.js';
import { AnchorCacheDataset } from './cache.js';
import { createAnchorDataLoader } from './loader.js';

let root = '';
let data = '';
let teacher: Teacher;

beforeAll(async () => {
  root = testFolder();
  data = await makeCameraTask(join(root, 'data'));
  const { input_features: _, ...config } = smallConfig({
    action_tokenizer_name: smallFast(root),
    tokenizer_max_length: 64,
    max_action_tokens: 32,
    output_features: {},
    normalization_mapping: { VISUAL: 'IDENTITY', STATE: 'MEAN_STD', ACTION: 'MEAN_STD' },
  });
  teacher = await makeTeacher(join(root, 'teacher'), data, config);
});

const options = () => ({ policy: teacher.policy, processors: teacher.processors, batchSize: 4, seed: 2 });
const build = (name: string, changes: object) =>
  buildAnchorCache({
    teacher: teacher.dir,
    datasets: [localDataset(data)],
    outputDir: join(root, name),
    numAnchors: 8,
    shardSize: 5,
    batchSize: 3,
    dtype: 'float32',
    ...changes,
  });
const values = (tensor: Tensor) => tensor.to({ dtype: 'float32' }).tolist() as number[][];

test('hidden states, actions and tokens of a teacher, read by the run as they were written', async () => {
  const metadata = await build('teacher-cache', {
    kinds: ['task', 'hidden', 'action', 'token_ce'],
    layers: [-2],
    poolings: ['mean_image_tokens', 'last_token'],
  });
  // The size at which the policy sees them, not the camera's 32 by 48.
  expect(metadata.images).toEqual({ [CAMERA]: { height: 28, width: 28 } });
  expect(metadata.tokens).toMatchObject({ source: 'teacher' });
  const loader = await createAnchorDataLoader({
    ...options(),
    cacheDir: join(root, 'teacher-cache'),
    needs: { kinds: ['task', 'hidden', 'action', 'token_ce'] },
  });
  const policy = teacher.policy as Pi0FastPolicy;
  scope(() =>
    noGrad(() => {
      const batch = loader.batch(0);
      const hidden = extractFeatures(policy, batch, {
        layers: [-2],
        poolings: ['mean_image_tokens', 'last_token'],
      });
      expect(batch['anchor.hidden']!.sub(hidden).abs().max().item()).toBeLessThan(1e-4);
      expect(batch['anchor.action']!.sub(policy.predictActionChunk(batch)).abs().max().item()).toBeLessThan(
        1e-5,
      );
      const labels = values(batch['anchor.token_labels']!);
      const mask = values(batch['anchor.token_mask']!);
      policy.generateTokens(batch).forEach((tokens, row) => {
        const length = mask[row]!.reduce((a, b) => a + b, 0);
        expect(labels[row]!.slice(1, length)).toEqual(tokens.slice(0, length - 1));
        // BOS, as the recorded tokens begin.
        expect(labels[row]![0]).toBe(values(batch['action.tokens']!)[row]![0]);
      });
      const given = {
        ...batch,
        'action.tokens': batch['anchor.token_labels']!,
        'action.token_mask': batch['anchor.token_mask']!,
      };
      expect(policy.call(given).loss.item()).toBeGreaterThan(0);
    }),
  );
  await loader.close();
});

test('recorded tokens are those of the processor, and the images those of the dataset up to rounding', async () => {
  await build('recorded', { kinds: ['task', 'token_ce'], tokenSource: 'recorded', numAnchors: 15 });
  const loader = await createAnchorDataLoader({
    ...options(),
    batchSize: 15,
    cacheDir: join(root, 'recorded'),
    needs: { kinds: ['task', 'token_ce'] },
  });
  const plain = await createAnchorDataLoader({ ...options(), batchSize: 15, datasets: [localDataset(data)] });
  await plain.ready(0);
  scope(() =>
    noGrad(() => {
      const [a, b] = [loader.batch(0), plain.batch(0)];
      expect(values(a['anchor.token_labels']!)).toEqual(values(a['action.tokens']!));
      const prompts = (batch: typeof a) => values(batch['observation.language.tokens']!).map(String).sort();
      expect(prompts(a)).toEqual(prompts(b));
      const features = (batch: typeof a) =>
        extractFeatures(teacher.policy, batch, { layers: [-1], poolings: ['mean_image_tokens'] }).mean([0]);
      // Bytes instead of floats: half a level of 255.
      expect(features(a).sub(features(b)).abs().max().item()).toBeLessThan(0.02);
    }),
  );
  await Promise.all([loader.close(), plain.close()]);
});

test('an imported cache gives batches the policy takes, processors aside', async () => {
  const { importAnchorCache } = await import('../../../python-caches/src/import.js');
  const from = new URL('../../../python-caches/test/fixtures/python-cache/labels', import.meta.url).pathname;
  await importAnchorCache({ from, outputDir: join(root, 'imported'), imageKey: CAMERA });
  const loader = await createAnchorDataLoader({
    ...options(),
    cacheDir: join(root, 'imported'),
    needs: { kinds: ['token_ce'] },
  });
  scope(() =>
    noGrad(() => {
      const batch = loader.batch(0);
      const given = {
        ...batch,
        'action.tokens': batch['anchor.token_labels']!,
        'action.token_mask': batch['anchor.token_mask']!,
      };
      expect(Number.isFinite(teacher.policy.call(given).loss.item())).toBe(true);
    }),
  );
  await loader.close();
  using cache = AnchorCacheDataset.open(join(root, 'imported'));
  expect(cache.metadata.preprocessed).toBe(true);
});
