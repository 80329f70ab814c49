import { readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { parseHistory } from '@craft-ft/craft';
import { LeRobotDataset } from '@craft-ft/datasets';
import { safetensors } from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import { filesOf, makeTask, metricsOf, readJson, testFolder } from '../../training/test/training.js';
import { checkpoint, craftFlags, evalLoss, flags, train } from '../test/runs.js';

const folder = testFolder();

test('ACT learns a task, with VAE and dropout: the loss falls to less than a tenth', async () => {
  const data = makeTask(join(folder, 'learn'), { turn: 90 });
  const run = join(folder, 'learned');
  const more = [
    '--steps=200',
    '--log_freq=20',
    '--batch_size=8',
    '--save_freq=0',
    '--policy.optimizer_lr=3e-3',
  ];
  expect(await train(flags(data, run, ...more))).toMatchObject({ code: 0, err: '' });
  const losses = metricsOf(run).map(({ loss }) => loss!);
  expect(losses.at(-1)).toBeLessThan(losses[0]! / 10);
  expect(await evalLoss(run, data)).toBeLessThan(0.25);
});

describe('an old task and a new one', () => {
  const EPSILON = 0.15;
  // One scale for all datasets: the marker distinguishes tasks only if it is not normalised away.
  const identity =
    '--policy.normalization_mapping={"VISUAL":"IDENTITY","STATE":"IDENTITY","ACTION":"IDENTITY"}';
  const plain = ['--steps=200', '--log_freq=50', '--save_freq=0', '--batch_size=8'];
  const exact = [identity, '--policy.use_vae=false', '--policy.dropout=0', '--policy.optimizer_lr=3e-3'];
  const fixed = ['--craft.anchor_batch_size=16', '--craft.retention_freq=1', '--craft.lambda_lr=0.1'];
  const epsilon = [`--craft.epsilon_start=${EPSILON}`, `--craft.epsilon_end=${EPSILON}`];

  async function learnOld(name: string, mark: number): Promise<{ data: string; run: string }> {
    const data = makeTask(join(folder, `${name}-data`), { mark });
    const run = join(folder, name);
    expect(await train(flags(data, run, ...plain, ...exact))).toMatchObject({ code: 0 });
    expect(await evalLoss(run, data)).toBeLessThan(EPSILON);
    return { data, run };
  }

  async function fineTune(name: string, old: { data: string; run: string }, next: string, craft: boolean) {
    const run = join(folder, name);
    const more = craft ? craftFlags(old.data, ...fixed, ...epsilon) : [];
    const argv = flags(next, run, ...plain, '--optimizer.lr=3e-3', ...more);
    const withoutPolicy = argv.filter((flag) => !flag.startsWith('--policy.'));
    const ran = await train([`--policy.path=${old.run}`, ...withoutPolicy]);
    expect(ran.code).toBe(0);
    const history = join(run, 'checkpoints/last/training_state/lambda_history.csv');
    const rows = craft ? parseHistory(readFileSync(history, 'utf8'), history) : [];
    const conflicts = rows.filter((row) => row.grad_conflict === 1).length / rows.length;
    return {
      old: await evalLoss(run, old.data),
      next: await evalLoss(run, next),
      rows,
      conflicts,
      out: ran.out,
    };
  }

  test('that can both be done: CRaFT learns one and keeps the other, the baseline forgets', async () => {
    const old = await learnOld('marked', -1);
    const next = makeTask(join(folder, 'marked-next'), { mark: 1, turn: 180, seed: 2 });
    const before = await evalLoss(old.run, next);
    expect(before).toBeGreaterThan(1);
    const baseline = await fineTune('marked-baseline', old, next, false);
    expect(baseline.next).toBeLessThan(0.25);
    expect(baseline.old).toBeGreaterThan(5 * EPSILON);
    const craft = await fineTune('marked-craft', old, next, true);
    expect(craft.next).toBeLessThan(0.25);
    expect(craft.old).toBeLessThan(1.3 * EPSILON);
    expect(craft.conflicts).toBeGreaterThan(0.1);
  });

  test('that exclude each other: CRaFT keeps the old one, and says so', async () => {
    const old = await learnOld('same', 0);
    // The same states with opposite actions.
    const next = makeTask(join(folder, 'opposite'), { turn: 180 });
    const baseline = await fineTune('opposite-baseline', old, next, false);
    expect(baseline.next).toBeLessThan(0.25);
    expect(baseline.old).toBeGreaterThan(5 * EPSILON);
    const craft = await fineTune('opposite-craft', old, next, true);
    expect(craft.old).toBeLessThan(2.5 * EPSILON);
    expect(craft.next).toBeGreaterThan(5 * EPSILON);
    expect(craft.conflicts).toBeGreaterThan(0.4);
    expect(craft.out).toMatch(/retention loss on the anchors: 0\.\d+ before, 0\.\d+ now/);
    expect(craft.out).toMatch(/λ \d+\.\d+ to \d+\.\d+, now \d+\.\d+; ε 0\.1500 to 0\.1500/);

    // More data of the old task: the gradients agree, the constraint has nothing to do, λ goes to 0.
    const more = makeTask(join(folder, 'more'), { seed: 5 });
    const agreeing = await fineTune('agreeing', old, more, true);
    expect(agreeing.next).toBeLessThan(0.25);
    expect(agreeing.old).toBeLessThan(1.3 * EPSILON);
    expect(agreeing.conflicts).toBeLessThan(craft.conflicts / 2);
    expect(agreeing.rows.at(-1)!.lambda).toBeLessThan(craft.rows.at(-1)!.lambda);
  });
});

describe('a CRaFT run leaves', () => {
  const run = join(folder, 'layout');
  let out = '';

  test('a run', async () => {
    const data = makeTask(join(folder, 'layout-new'), { turn: 90 });
    const old = makeTask(join(folder, 'layout-old'));
    const epsilon = ['--craft.epsilon_start=1', '--craft.epsilon_end=0.1'];
    const more = [...craftFlags(old), ...epsilon, '--steps=6', '--save_freq=4', '--scheduler.type=linear'];
    const ran = await train(flags(data, run, ...more));
    expect(ran).toMatchObject({ code: 0, err: '' });
    out = ran.out;
  });

  test("checkpoints in LeRobot's layout, and CRaFT's files beside", () => {
    const model = [
      'config.json',
      'craft_config.json',
      'model.safetensors',
      'policy_postprocessor.json',
      'policy_postprocessor_step_0_unnormalizer_processor.safetensors',
      'policy_preprocessor.json',
      'policy_preprocessor_step_3_normalizer_processor.safetensors',
      'train_config.json',
    ].map((file) => `pretrained_model/${file}`);
    const state = [
      'craft_state.json',
      'lambda_history.csv',
      'metrics_state.json',
      'optimizer_param_groups.json',
      'optimizer_state.safetensors',
      'rng_state.safetensors',
      'scheduler_state.json',
      'training_step.json',
    ].map((file) => `training_state/${file}`);
    const expected = ['000004', '000006', 'last'].flatMap((name) =>
      [...model, ...state].map((file) => `checkpoints/${name}/${file}`),
    );
    expect([...filesOf(run).keys()]).toEqual([...expected, 'metrics.jsonl', 'report.html']);
    expect(readlinkSync(join(run, 'checkpoints/last'))).toBe('000006');
  });

  test('train_config.json without fields that LeRobot does not know', () => {
    const config = readJson(checkpoint(run, 6), 'pretrained_model/train_config.json');
    expect(Object.keys(config).sort()).toEqual(
      [
        ...[
          'batch_size',
          'dataset',
          'job_name',
          'log_freq',
          'num_workers',
          'optimizer',
          'output_dir',
          'policy',
        ],
        ...[
          'rename_map',
          'resume',
          'save_checkpoint',
          'save_freq',
          'scheduler',
          'seed',
          'steps',
          'tolerance_s',
        ],
        'use_policy_training_preset',
      ].sort(),
    );
    expect(readJson(checkpoint(run, 6), 'pretrained_model/craft_config.json')).toMatchObject({
      enabled: true,
      retention_freq: 3,
    });
  });

  test('metrics and log lines with every number of the method', () => {
    const records = metricsOf(run);
    expect(records.map(({ step }) => step)).toEqual([3, 6]);
    const names = 'step samples epochs loss grad_norm lr update_s dataloading_s l1_loss kld_loss';
    const craft = 'retention_loss epsilon lambda_used lambda grad_dot grad_cos grad_conflict';
    const parts = 'retention_l1_loss retention_kld_loss';
    expect(Object.keys(records[1]!).sort()).toEqual(`${names} ${craft} ${parts}`.split(' ').sort());
    for (const value of records.flatMap((record) => Object.values(record)))
      expect(value).toBeTypeOf('number');
    const line = new RegExp(
      '^step:6 smpl:24 epch:0\\.50 loss:\\d+\\.\\d{4} grdn:\\d+\\.\\d{3} L_ret:\\d+\\.\\d{4} λ:\\d+\\.\\d{4} ε:0\\.\\d{4} ' +
        'dot:-?\\d+\\.\\d{4} cos:-?\\d\\.\\d{3} conflict:(yes|no) lr:\\d\\.\\de-\\d updt_s:\\d+\\.\\d{3} data_s:\\d+\\.\\d{3}$',
      'm',
    );
    expect(out).toMatch(line);
  });

  test('a history with one row per retention step', () => {
    const file = join(checkpoint(run, 6), 'training_state/lambda_history.csv');
    const rows = parseHistory(readFileSync(file, 'utf8'), file);
    expect(rows.map(({ step }) => step)).toEqual([0, 3]);
    expect(rows.map(({ epsilon }) => epsilon)).toEqual([1, 0.55]);
    const { dual } = readJson(checkpoint(run, 6), 'training_state/craft_state.json');
    expect(dual).toMatchObject({ lambda: rows[1]!.lambda, updates: 2, epsilon: 0.55 });
  });
});

test('--rename_map from data to policy, inference and back again', async () => {
  const data = makeTask(join(folder, 'renamed'), {
    keys: { state: 'state', action: 'actions' },
    image: true,
  });
  const run = join(folder, 'rename');
  const map = '--rename_map={"state": "observation.state", "actions": "action"}';
  const { code, out } = await train(flags(data, run, map, ...craftFlags(data)));
  expect(code).toBe(0);
  expect(out).toMatch(/^state +float32 +\[3\] +observation\.state$/m);
  expect(out).toMatch(/^actions +float32 +\[2\] +action$/m);
  expect(out).toMatch(/^image +uint8 +\[2, 2, 3\] +not used$/m);
  const config = readJson(checkpoint(run, 20), 'pretrained_model/config.json');
  expect(config).toMatchObject({
    input_features: { 'observation.state': { type: 'STATE', shape: [3] } },
    output_features: { action: { type: 'ACTION', shape: [2] } },
  });
  // The statistics are stored under the policy's names.
  const stats = 'pretrained_model/policy_preprocessor_step_3_normalizer_processor.safetensors';
  const names = [...safetensors.loadFile(join(checkpoint(run, 20), stats)).keys()];
  expect(names).toEqual(expect.arrayContaining(['observation.state.mean', 'action.std']));
  expect(names.filter((name) => /^(state|actions)\./.test(name))).toEqual([]);
  // Resume, then fine-tune on data that already uses the policy's names.
  expect(await train(['--resume', run, '--steps=22'])).toMatchObject({ code: 0 });
  const plain = makeTask(join(folder, 'plain-names'));
  const next = ['--dataset.repo_id=test/plain', `--dataset.root=${plain}`, '--steps=2', '--batch_size=4'];
  const tuned = await train([
    `--policy.path=${run}`,
    ...next,
    `--output_dir=${join(folder, 'rename-tuned')}`,
  ]);
  expect(tuned.code).toBe(0);
  // The anchors may already use the policy's names.
  const mixed = await train(flags(data, join(folder, 'mixed'), map, '--steps=2', ...craftFlags(plain)));
  expect(mixed.code).toBe(0);
  expect(Object.keys((await LeRobotDataset.open({ root: data })).features)).toContain('actions');
});

test('without the map: one line that names what is there and the remedy', async () => {
  const data = makeTask(join(folder, 'unmapped'), { keys: { state: 'state', action: 'actions' } });
  const run = join(folder, 'unmapped-run');
  const { code, err } = await train(flags(data, run));
  expect(code).not.toBe(0);
  expect(err.trim().split('\n')).toHaveLength(1);
  expect(err).toMatch(/state, actions/);
  expect(err).toContain('rename_map');
  expect(() => filesOf(run)).toThrow('ENOENT');
});
