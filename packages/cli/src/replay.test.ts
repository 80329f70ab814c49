import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  filesOf,
  makeTask,
  metricsOf,
  readJson,
  testFolder,
  withoutTimes,
} from '../../training/test/training.js';
import { checkpoint, evalLoss, flags, train } from '../test/runs.js';

const folder = testFolder();
const data = makeTask(join(folder, 'new'), { turn: 90, mark: 1 });
const old = makeTask(join(folder, 'old'), { mark: -1, seed: 2 });
const replay = ['--method=replay', `--replay.anchor_dataset_path=${old}`, '--replay.anchor_batch_size=4'];
const run = join(folder, 'replay');

beforeAll(async () => {
  const ran = await train(flags(data, run, ...replay));
  expect(ran).toMatchObject({ code: 0, err: '' });
  expect(ran.out).toContain('replay, steps 1 to 20');
});

test('a run with replay holds on to the old task, and its checkpoint says how it was made', async () => {
  const plain = join(folder, 'plain');
  await train(flags(data, plain));
  expect(await evalLoss(run, old)).toBeLessThan(await evalLoss(plain, old));
  const model = join(checkpoint(run, 20), 'pretrained_model');
  expect(readJson(model, 'replay_config.json')).toMatchObject({ weight: 1, anchor_dataset_path: old });
  const saved = readJson(model, 'train_config.json');
  for (const field of ['method', 'replay', 'craft']) expect(saved).not.toHaveProperty(field);
  expect(metricsOf(run).every(({ replay_loss: loss }) => loss! > 0)).toBe(true);
});

describe('resume', () => {
  test('ten steps and ten more are twenty, to the bit', async () => {
    const copy = join(testFolder(), 'run');
    cpSync(run, copy, { recursive: true, verbatimSymlinks: true });
    rmSync(join(copy, 'checkpoints/last'));
    rmSync(checkpoint(copy, 20), { recursive: true });
    const from = join(checkpoint(copy, 10), 'pretrained_model');
    const ran = await train(['--resume=true', `--config_path=${from}`]);
    expect(ran).toMatchObject({ code: 0, err: '' });
    const [a, b] = [run, copy].map((each) => filesOf(checkpoint(each, 20)));
    for (const [name, content] of a!)
      if (!name.endsWith('train_config.json'))
        expect({ name, content: b!.get(name) }).toEqual({ name, content });
    expect(metricsOf(copy).map(withoutTimes)).toEqual(metricsOf(run).map(withoutTimes));
  });

  test('the method stays; its weight may change, with a warning', async () => {
    const refused = await train(['--resume', run, '--steps=21', '--method=baseline']);
    expect(refused.err).toContain(
      'method=baseline: cannot change on resume; the run was started with "replay"',
    );
    const copy = join(testFolder(), 'run');
    cpSync(run, copy, { recursive: true, verbatimSymlinks: true });
    const warned = await train(['--resume', copy, '--steps=21', '--replay.weight=0.5']);
    expect(warned.err).toContain('replay.weight changes from 1 to 0.5');
    rmSync(join(checkpoint(copy, 21), 'pretrained_model/replay_config.json'));
    const lost = await train(['--resume', copy, '--steps=22']);
    expect(lost.err).toMatch(
      /replay_config\.json is missing, but the run was trained with replay: restore the file/,
    );
  });
});
