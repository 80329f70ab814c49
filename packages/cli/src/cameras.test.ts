import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readPolicyConfig } from '@craft-ft/policies';
import { safetensors } from '@craft-ft/torch';
import { beforeAll, describe, expect, test } from 'vitest';
import { CAMERA, HEIGHT, makeCameraTask, WIDTH } from '../../datasets/test/cameras.js';
import { filesOf, metricsOf, readJson, testFolder, withoutTimes } from '../../training/test/training.js';
import { checkpoint, craftFlags, flags, train } from '../test/runs.js';

const folder = testFolder();
const data = join(folder, 'task');
const old = join(folder, 'old');
const PREPROCESSOR = 'pretrained_model/policy_preprocessor_step_3_normalizer_processor.safetensors';
const MODEL = 'pretrained_model/model.safetensors';

beforeAll(async () => {
  await makeCameraTask(data);
  await makeCameraTask(old, { turn: -1, light: 60, lengths: [5, 6] });
});

/** Flags of a short run that uses the camera. */
const seeing = (run: string, ...more: string[]): string[] =>
  flags(
    data,
    join(folder, run),
    '--policy.vision_backbone=resnet18_narrow',
    '--policy.pretrained_backbone_weights=null',
    '--batch_size=3',
    '--steps=6',
    '--save_freq=0',
    ...more,
  );

async function trained(run: string, ...more: string[]): Promise<string> {
  expect(await train(seeing(run, ...more))).toMatchObject({ code: 0, err: '' });
  return join(folder, run);
}

const weights = (run: string, step = 6): string => filesOf(checkpoint(run, step)).get(MODEL)!;
const stats = (run: string, step = 6) => safetensors.loadFile(join(checkpoint(run, step), PREPROCESSOR));
const inputs = (run: string) =>
  readPolicyConfig(join(run, 'checkpoints/last/pretrained_model')).config.input_features;

/** Compares byte for byte, except the training configuration and the times in the log. */
function expectSameRun(found: string, expected: string): void {
  const [a, b] = [found, expected].map((run) => filesOf(checkpoint(run, 6)));
  expect([...a!.keys()]).toEqual([...b!.keys()]);
  for (const [name, content] of b!) {
    if (!name.endsWith('train_config.json'))
      expect({ name, content: a!.get(name) }).toEqual({ name, content });
  }
  expect(metricsOf(found).map(withoutTimes)).toEqual(metricsOf(expected).map(withoutTimes));
}

test('trains on what a camera shows: the loss falls, the backbone learns, times are in the log', async () => {
  const run = await trained('falls', '--steps=30', '--log_freq=5', '--optimizer.lr=3e-3');
  const log = metricsOf(run);
  expect(log).toHaveLength(6);
  expect(log.at(-1)!.loss!).toBeLessThan(0.8 * log[0]!.loss!);
  for (const { dataloading_s: waited, update_s: updated } of log) {
    expect(waited).toBeGreaterThan(0);
    expect(updated).toBeGreaterThan(0);
  }
  expect(inputs(run)[CAMERA]).toEqual({ type: 'VISUAL', shape: [3, HEIGHT, WIDTH] });
  const names = safetensors.open(join(checkpoint(run, 30), MODEL)).names;
  expect(names.some((name) => name.startsWith('model.backbone.'))).toBe(true);
});

describe.each([
  ['plain', [], []],
  ['with random changes of the images', ['--dataset.image_transforms.enable=true'], []],
  [
    'CRaFT with cameras in its anchors',
    craftFlags(old, '--craft.epsilon_mode=relative', '--craft.anchor_batch_size=2'),
    [],
  ],
])('%s', (name, more) => {
  const straight = join(folder, `${name}-straight`);
  beforeAll(async () => {
    await trained(`${name}-straight`, '--num_workers=0', ...more);
  });

  test.each([0, 2])('3 + 3 steps with %i workers are 6 steps, byte for byte', async (workers) => {
    const run = join(folder, `${name}-${workers}`);
    await trained(`${name}-${workers}`, '--num_workers=0', '--steps=3', ...more);
    const resumed = await train(['--resume', run, '--steps=6', `--num_workers=${workers}`]);
    expect(resumed).toMatchObject({ code: 0 });
    expectSameRun(run, straight);
  });

  test('two workers from the beginning: the same run', async () => {
    const run = await trained(`${name}-workers`, '--num_workers=2', ...more);
    expectSameRun(run, straight);
  });
});

test('random changes do change the images', () => {
  expect(weights(join(folder, 'plain-straight'))).not.toBe(
    weights(join(folder, 'with random changes of the images-straight')),
  );
});

test('frames kept in memory or in a folder give the same weights', async () => {
  const kept = join(folder, 'kept');
  for (const [i, cache] of ['memory', kept, kept].entries()) {
    const run = await trained(`cache-${i}`, `--dataset.frame_cache=${cache}`, `--num_workers=${i % 3}`);
    expect(weights(run)).toBe(weights(join(folder, 'plain-straight')));
  }
  expect([...filesOf(kept).keys()].every((name) => name.endsWith('.frames'))).toBe(true);
  expect(filesOf(kept).size).toBe(1);
});

test("--dataset.cameras='[]' trains from the numbers alone, and needs no video", async () => {
  const bare = join(folder, 'bare');
  await makeCameraTask(bare);
  rmSync(join(bare, 'videos'), { recursive: true });
  const run = await trained('blind', `--dataset.root=${bare}`, '--dataset.cameras=[]');
  expect(Object.keys(inputs(run))).toEqual(['observation.state']);
  const names = safetensors.open(join(checkpoint(run, 6), MODEL)).names;
  expect(names.filter((name) => name.includes('backbone'))).toEqual([]);
});

test('--dataset.image_size is what the policy sees', async () => {
  const run = await trained('small', '--dataset.image_size=[16,24]', '--num_workers=1');
  expect(inputs(run)[CAMERA]!.shape).toEqual([3, 16, 24]);
  expect(weights(run)).not.toBe(weights(join(folder, 'plain-straight')));
  // The resumed run uses the camera too.
  expect(await train(['--resume', run, '--steps=7'])).toMatchObject({ code: 0 });
  expect(inputs(run)[CAMERA]!.shape).toEqual([3, 16, 24]);
});

test('use_imagenet_stats decides what cameras are normalised by', async () => {
  const imagenet = stats(join(folder, 'plain-straight'));
  const mean = imagenet.get(`${CAMERA}.mean`)!;
  expect(mean.shape).toEqual([3, 1, 1]);
  const channels = (tensor: typeof mean) => [...(tensor.toTypedArray() as Float32Array)];
  expect(channels(mean)).toEqual([0.485, 0.456, 0.406].map(Math.fround));
  expect(channels(imagenet.get(`${CAMERA}.std`)!)).toEqual([0.229, 0.224, 0.225].map(Math.fround));
  const run = await trained('own-stats', '--dataset.use_imagenet_stats=false');
  const own = channels(stats(run).get(`${CAMERA}.mean`)!);
  const recorded = readJson(data, 'meta/stats.json')[CAMERA] as { mean: number[][][] };
  own.forEach((value, channel) => {
    expect(value).toBeCloseTo(recorded.mean[channel]![0]![0]!, 5);
  });
  expect(weights(run)).not.toBe(weights(join(folder, 'plain-straight')));
});

test("fine-tuning keeps the checkpoint's camera statistics, size and weights", async () => {
  const base = await trained('base', '--dataset.use_imagenet_stats=false', '--dataset.image_size=[16,24]');
  const run = join(folder, 'tuned');
  const more = ['--optimizer.lr=0', '--optimizer.weight_decay=0', '--steps=1', `--dataset.root=${old}`];
  const tune = seeing('tuned', ...more).filter((flag) => !flag.startsWith('--policy.'));
  // The backbone has its own learning rate, as in LeRobot.
  expect(await train([`--policy.path=${base}`, '--policy.optimizer_lr_backbone=0', ...tune])).toMatchObject({
    code: 0,
  });
  expect(weights(run, 1)).toBe(weights(base));
  const bytes = (at: string) => readFileSync(join(at, PREPROCESSOR));
  expect(bytes(checkpoint(run, 1)).equals(bytes(checkpoint(base, 6)))).toBe(true);
  expect(inputs(run)).toEqual(inputs(base));
});

test('a missing video ends the run before its first step, in one line that says what to do', async () => {
  const broken = join(folder, 'broken');
  await makeCameraTask(broken);
  const path = join(broken, `videos/${CAMERA}/chunk-000/file-000.mp4`);
  rmSync(path);
  const { code, err } = await train(seeing('broken-run', `--dataset.root=${broken}`));
  expect(code).toBe(1);
  expect(err.trim().split('\n')).toHaveLength(1);
  expect(err).toContain(path);
  expect(err).toContain('episode 0');
  expect(err).toContain("--dataset.cameras='[]'");
});
