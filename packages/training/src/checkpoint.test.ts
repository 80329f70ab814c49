import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { CraftError, getRngState, manualSeed, noGrad, rand, safetensors, scope } from '@craft-ft/torch';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { thrown } from '../../datasets/test/thrown.js';
import { filesOf, fillDisk, makeTask, readJson, runConfig, smallDisk, testFolder } from '../test/training.js';
import { checkpointStep, restoreTrainingState, saveCheckpoint, stepFolder } from './checkpoint.js';
import { type TrainingRun, train } from './loop.js';
import { prepareTraining } from './prepare.js';

const data = makeTask(join(testFolder(), 'data'));
let output = '';
beforeEach(() => {
  output = join(testFolder(), 'run');
});

const configure = (more: object = {}) =>
  runConfig(data, output, { steps: 3, scheduler: { type: 'linear' }, ...more });

/** A run of three steps, saved. */
async function trained(more: object = {}): Promise<TrainingRun> {
  const run = await prepareTraining(configure(more));
  await train(run);
  return run;
}

test('folders are named by the step, six digits or as many as the run needs', () => {
  expect(stepFolder(500, 100_000)).toBe('000500');
  expect(stepFolder(500, 1)).toBe('000500');
  expect(stepFolder(500, 20_000_000)).toBe('00000500');
});

describe("LeRobot's files", () => {
  let run: TrainingRun;
  let state = '';
  let model = '';
  beforeAll(async () => {
    output = join(testFolder(), 'run');
    run = await trained();
    const last = join(output, 'checkpoints/last');
    [state, model] = [join(last, 'training_state'), join(last, 'pretrained_model')];
  });

  test('last is a relative link', () => {
    const last = join(run.config.output_dir, 'checkpoints/last');
    expect(lstatSync(last).isSymbolicLink()).toBe(true);
    expect(readlinkSync(last)).toBe('000003');
    expect(checkpointStep(realpathSync(last))).toBe(3);
  });

  test('no temporary file is left', () => {
    expect(readdirSync(join(run.config.output_dir, 'checkpoints'))).toEqual(['000003', 'last']);
    expect([...filesOf(run.config.output_dir).keys()].filter((name) => /tmp|\/\./.test(name))).toEqual([]);
  });

  test('training_step.json', () => {
    expect(readJson(state, 'training_step.json')).toEqual({
      ...{ step: 3, dp_world_size: 1, batch_size: 4, grad_accum_steps: 1 },
      parallelism: { dp_replicate: 1, dp_shard: 1, ring_degree: 1, ulysses_degree: 1 },
    });
  });

  test('optimizer_param_groups.json has the keys that PyTorch insists on', () => {
    const groups = readJson(state, 'optimizer_param_groups.json') as unknown as Record<string, unknown>[];
    const keys =
      'lr betas eps weight_decay amsgrad maximize foreach capturable differentiable fused decoupled_weight_decay initial_lr params';
    expect(groups).toHaveLength(2);
    for (const group of groups) expect(Object.keys(group)).toEqual(keys.split(' '));
    const count = run.policy.parameters().length;
    expect(groups[0]!.params).toEqual(Array.from({ length: count }, (_, i) => i));
    expect(groups[1]!.params).toEqual([]);
    // The rate of the next step.
    expect(groups[0]).toMatchObject({ lr: 0, initial_lr: 1e-5, betas: [0.9, 0.999], weight_decay: 1e-4 });
  });

  test('optimizer_state.safetensors', () => {
    const tensors = safetensors.loadFile(join(state, 'optimizer_state.safetensors'));
    const parameters = run.policy.parameters();
    expect([...tensors.keys()].sort()).toEqual(
      parameters
        .flatMap((_, i) => ['exp_avg', 'exp_avg_sq', 'step'].map((name) => `state/${i}/${name}`))
        .sort(),
    );
    parameters.forEach((parameter, i) => {
      expect(tensors.get(`state/${i}/exp_avg`)!.shape).toEqual(parameter.shape);
      expect(tensors.get(`state/${i}/step`)).toMatchObject({ shape: [], dtype: 'float32' });
    });
    expect(tensors.get('state/0/step')!.item()).toBe(3);
  });

  test('scheduler_state.json', () => {
    const schedule = readJson(state, 'scheduler_state.json');
    expect(Object.keys(schedule).sort()).toEqual(
      [
        '_get_lr_called_within_step',
        '_last_lr',
        '_step_count',
        'base_lrs',
        'last_epoch',
        'lr_lambdas',
      ].sort(),
    );
    expect(schedule).toMatchObject({ last_epoch: 3, base_lrs: [1e-5, 1e-5], lr_lambdas: [null, null] });
  });

  test('rng_state.safetensors', () => {
    const tensors = safetensors.loadFile(join(state, 'rng_state.safetensors'));
    const shapes = Object.fromEntries([...tensors].map(([name, { shape, dtype }]) => [name, [shape, dtype]]));
    expect(shapes).toEqual({
      py_rng_version: [[1], 'int64'],
      py_rng_state: [[625], 'int64'],
      np_rng_state_values: [[624], 'int64'],
      np_rng_state_index: [[1], 'int64'],
      np_rng_has_gauss: [[1], 'int64'],
      np_rng_cached_gaussian: [[1], 'float32'],
      torch_rng_state: [[getRngState().numel], 'uint8'],
    });
  });

  test('model.safetensors, config.json and train_config.json', () => {
    const file = safetensors.open(join(model, 'model.safetensors'));
    expect(file.metadata).toEqual(new Map([['format', 'pt']]));
    expect([...file.names].every((name) => name.startsWith('model.'))).toBe(true);
    expect(readJson(model, 'config.json')).toMatchObject({
      type: 'act',
      input_features: { 'observation.state': { type: 'STATE', shape: [3] } },
      output_features: { action: { type: 'ACTION', shape: [2] } },
    });
    const config = readJson(model, 'train_config.json');
    expect(config).not.toHaveProperty('normalization_stats');
    expect(config.policy).toEqual(readJson(model, 'config.json'));
  });

  test('no schedule, no file', async () => {
    await trained({ scheduler: null });
    const files = readdirSync(join(output, 'checkpoints/000003/training_state'));
    expect(files).not.toContain('scheduler_state.json');
    const [group] = readJson(
      output,
      'checkpoints/000003/training_state/optimizer_param_groups.json',
    ) as unknown as object[];
    expect(group).not.toHaveProperty('initial_lr');
  });
});

describe('when saving fails, earlier checkpoints are intact', () => {
  const intact = (run: TrainingRun, body: () => void): void => {
    const checkpoints = join(run.config.output_dir, 'checkpoints');
    const before = filesOf(checkpoints);
    body();
    expect(filesOf(checkpoints)).toEqual(before);
    expect(readlinkSync(join(checkpoints, 'last'))).toBe('000003');
    expect(readdirSync(checkpoints)).toEqual(['000003', 'last']);
  };

  test('midway, by whatever error', async () => {
    const run = await trained();
    run.strategy.stateFiles = () => {
      throw new CraftError('TEST', 'broken');
    };
    for (const step of [4, 3]) {
      intact(run, () => expect(thrown(() => saveCheckpoint(run, step)).code).toBe('TEST'));
    }
  });

  test('at a file that cannot be written', async () => {
    const run = await trained();
    run.strategy.stateFiles = () => new Map([['nowhere/file', '']]);
    intact(run, () => {
      const error = thrown(() => saveCheckpoint(run, 4));
      expect(error.code).toBe('WRITE_FAILED');
      expect(error.message).not.toContain('\n');
    });
  });

  test('weights that are not finite are not saved', async () => {
    const run = await trained();
    noGrad(() => run.policy.parameters()[0]!.fill_(Number.POSITIVE_INFINITY));
    intact(run, () => {
      const error = thrown(() => saveCheckpoint(run, 4));
      expect(error.code).toBe('WEIGHTS_NOT_FINITE');
      expect(error.message).toMatch(/^step 4: the update made weights infinite or NaN/);
    });
  });

  test('a folder that cannot be made', async () => {
    const run = await trained();
    const away = `${output}-away`;
    renameSync(output, away);
    writeFileSync(output, '');
    const error = thrown(() => saveCheckpoint(run, 4));
    expect(error.code).toBe('WRITE_FAILED');
    expect(error.message).toMatch(
      /checkpoints\/000004: cannot be written \(ENOTDIR\); earlier checkpoints are intact$/,
    );
    expect(existsSync(join(away, 'checkpoints/000003'))).toBe(true);
  });

  const disk = smallDisk();
  // Only root can mount a small disk to fill up.
  test.skipIf(disk === null)('no space left on the disk', async () => {
    output = join(disk!, 'run');
    const run = await trained();
    const free = fillDisk(disk!);
    intact(run, () => {
      const error = thrown(() => saveCheckpoint(run, 4));
      expect(error.code).toBe('DISK_FULL');
      expect(error.message).toBe(
        `${output}/checkpoints/000004: no space left on the disk; earlier checkpoints are intact`,
      );
    });
    free();
    expect(saveCheckpoint(run, 4)).toBe(join(output, 'checkpoints/000004'));
  });
});

test('saving a step again replaces its checkpoint', async () => {
  const run = await trained();
  const before = filesOf(join(output, 'checkpoints/000003'));
  noGrad(() => run.policy.parameters()[0]!.fill_(1));
  saveCheckpoint(run, 3);
  const after = filesOf(join(output, 'checkpoints/000003'));
  expect(after.get('pretrained_model/model.safetensors')).not.toBe(
    before.get('pretrained_model/model.safetensors'),
  );
  expect(readdirSync(join(output, 'checkpoints'))).toEqual(['000003', 'last']);
});

test('a checkpoint is complete again after a crash between the renames of its replacement', async () => {
  const run = await trained();
  const checkpoints = join(output, 'checkpoints');
  const newer = filesOf(join(checkpoints, '000003'));
  renameSync(join(checkpoints, '000003'), join(checkpoints, '.000003.swap-new'));
  mkdirSync(join(checkpoints, '.000003.swap-old'));
  saveCheckpoint(run, 4);
  expect(filesOf(join(checkpoints, '000003'))).toEqual(newer);
  expect(readdirSync(checkpoints)).toEqual(['000003', '000004', 'last']);
});

test('restoring gives optimiser, counts and random numbers bit for bit', async () => {
  const run = await trained();
  const checkpoint = join(output, 'checkpoints/000003');
  const numbers = scope(() => rand([4]).tolist());
  manualSeed(77);
  output = join(testFolder(), 'restored');
  const other = await prepareTraining(configure());
  other.metrics = run.metrics;
  expect(restoreTrainingState(other, checkpoint)).toBe(3);
  expect(scope(() => rand([4]).tolist())).toEqual(numbers);
  expect(other.optimization.adamw.expAvg.tolist()).toEqual(run.optimization.adamw.expAvg.tolist());
  expect(other.optimization.adamw.expAvgSq.tolist()).toEqual(run.optimization.adamw.expAvgSq.tolist());
  expect(other.optimization.adamw.steps).toEqual(run.optimization.adamw.steps);
});
