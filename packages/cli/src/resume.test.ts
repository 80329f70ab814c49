import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  filesOf,
  makeTask,
  metricsOf,
  readJson,
  testFolder,
  withoutTimes,
} from '../../training/test/training.js';
import { checkpoint, craftFlags, flags, train, trainUntil } from '../test/runs.js';

const folder = testFolder();
const data = makeTask(join(folder, 'new'), { turn: 90 });
const old = makeTask(join(folder, 'old'), { seed: 2 });

/** Byte for byte, except for what names the run. */
function expectSameCheckpoint(found: string, expected: string): void {
  const [a, b] = [filesOf(found), filesOf(expected)];
  expect([...a.keys()]).toEqual([...b.keys()]);
  for (const [name, content] of b) {
    if (name.endsWith('train_config.json')) {
      const configs = [a, b].map((files) => JSON.parse(files.get(name)!));
      const [one, two] = configs.map(({ resume: _, output_dir: __, ...rest }) => rest);
      expect(one).toEqual(two);
    } else expect({ name, content: a.get(name) }).toEqual({ name, content });
  }
}

function expectSameRun(found: string, expected: string): void {
  expectSameCheckpoint(checkpoint(found, 20), checkpoint(expected, 20));
  expect(metricsOf(found).map(withoutTimes)).toEqual(metricsOf(expected).map(withoutTimes));
}

describe.each([
  ['baseline', ['--scheduler.type=linear', '--scheduler.num_warmup_steps=5']],
  ['CRaFT', craftFlags(old, '--craft.epsilon_mode=relative', '--craft.log_craft_metrics_freq=4')],
  ['streamed', ['--dataset.streaming=true']],
  ['mixture', [`--dataset.mixture=[{"repo_id": "test/old", "root": "${old}", "weight": 0.5}]`]],
])('%s, with dropout and VAE', (name, more) => {
  const straight = join(folder, `${name}-straight`);

  test('20 steps without a stop', async () => {
    expect(await train(flags(data, straight, ...more))).toMatchObject({ code: 0, err: '' });
    expect(metricsOf(straight).at(-1)).toMatchObject({ step: 20, samples: 80 });
  });

  test.each([
    ['with a checkpoint that was due', '000010', 10],
    // In the middle of a logging window and, for CRaFT, of a retention period.
    ['at any other step', 'step:6 ', 6],
  ])('stopped %s, and continued with --resume RUN', async (_, line, step) => {
    const run = join(folder, `${name}-stopped-${step}`);
    const stopped = await trainUntil(line, flags(data, run, ...more));
    expect(stopped.code).toBe(130);
    expect(stopped.err).toMatch(
      new RegExp(`interrupted at step ${step} of 20; continue with .*--resume ${run}`),
    );
    expect(existsSync(checkpoint(run, step))).toBe(true);
    expect(existsSync(checkpoint(run, 20))).toBe(false);
    expect(await train(['--resume', run])).toMatchObject({ code: 0, err: '' });
    expectSameRun(run, straight);
  });

  test("continued as in LeRobot, twice, after the run's folder was moved", async () => {
    const run = join(folder, `${name}-moved`);
    await trainUntil('step:6 ', flags(data, run, ...more));
    const moved = `${run}-away`;
    renameSync(run, moved);
    const config = join(moved, 'checkpoints/last/pretrained_model/train_config.json');
    expect((await trainUntil('step:9 ', [`--config_path=${config}`, '--resume=true'])).code).toBe(130);
    expect(await train([`--config_path=${config}`, '--resume=true'])).toMatchObject({ code: 0, err: '' });
    expectSameRun(moved, straight);
    expect(existsSync(run)).toBe(false);
  });

  test('continued from an earlier checkpoint after a crash: the log has each step once', async () => {
    const run = join(folder, `${name}-crashed`);
    cpSync(straight, run, { recursive: true, verbatimSymlinks: true });
    writeFileSync(
      join(run, 'metrics.jsonl'),
      `${readFileSync(join(run, 'metrics.jsonl'), 'utf8')}{"step": 2`,
    );
    const from = join(checkpoint(run, 10), 'pretrained_model');
    expect(await train([`--config_path=${from}`, '--resume'])).toMatchObject({ code: 0, err: '' });
    expectSameRun(run, straight);
  });

  test('a complete run has nothing to do', async () => {
    const before = filesOf(straight);
    const { code, err } = await train(['--resume', straight]);
    expect({ code, err }).toEqual({
      code: 0,
      err: 'craft: already at step 20, steps=20: nothing to do; raise --steps to go on\n',
    });
    expect(filesOf(straight)).toEqual(before);
  });
});

test('the seed decides everything, and another one decides otherwise', async () => {
  const model = async (name: string, ...more: string[]) => {
    const run = join(folder, name);
    expect(await train(flags(data, run, ...craftFlags(old), ...more))).toMatchObject({ code: 0 });
    return [
      readFileSync(join(checkpoint(run, 20), 'pretrained_model/model.safetensors')),
      metricsOf(run).map(withoutTimes),
    ];
  };
  const [first, second] = [await model('seed-a', '--seed=5'), await model('seed-b', '--seed=5')];
  expect(first).toEqual(second);
  expect(await model('seed-c', '--seed=6')).not.toEqual(first);
  // The order of the anchors has its own seed, which affects nothing else: the first batch is the same.
  const [, metrics] = await model('seed-d', '--seed=5', '--craft.anchor_seed=9');
  expect(metrics).not.toEqual(first[1]);
});

describe('what may change on resume', () => {
  const run = join(folder, 'changing');
  const resume = (...more: string[]) => {
    const copy = join(testFolder(), 'run');
    cpSync(run, copy, { recursive: true, verbatimSymlinks: true });
    return train(['--resume', copy, ...more]);
  };

  test('a run to continue', async () => {
    // With an ε that decreases over the run, the run's length matters.
    const epsilon = ['--craft.epsilon_start=1', '--craft.epsilon_end=0.1'];
    const args = flags(data, run, '--steps=4', '--save_freq=2', ...craftFlags(old, ...epsilon));
    expect(await train(args)).toMatchObject({ code: 0 });
  });

  test('where a crash cut the replacement of the last checkpoint short', async () => {
    const copy = join(testFolder(), 'run');
    cpSync(run, copy, { recursive: true, verbatimSymlinks: true });
    renameSync(checkpoint(copy, 4), join(copy, 'checkpoints/.000004.swap-new'));
    expect(await train(['--resume', copy])).toMatchObject({
      code: 0,
      err: expect.stringContaining('step 4'),
    });
    expect(existsSync(checkpoint(copy, 4))).toBe(true);
  });

  test('free: without a word', async () => {
    const ran = await resume('--steps=4', '--log_freq=1', '--save_freq=1', '--job_name=other');
    expect(ran.code).toBe(0);
    expect(ran.err).not.toContain('warning');
  });

  test.each([
    ['--steps=6', 'steps changes from 4 to 6'],
    ['--optimizer.lr=0.5', 'optimizer.lr changes from 0.001 to 0.5'],
    ['--craft.lambda_lr=0.5', 'craft.lambda_lr changes from 0.01 to 0.5'],
  ])('%s: one warning', async (flag, warning) => {
    const { code, err } = await resume('--steps=6', flag);
    expect(code).toBe(0);
    const warnings = err.split('\n').filter((line) => line.includes('warning') && line.includes(warning));
    expect(warnings).toEqual([`craft: warning: ${warning}: the run continues, but not as it would have`]);
    expect(err.split('\n').filter((line) => line.includes('warning'))).toHaveLength(
      flag.startsWith('--steps') ? 1 : 2,
    );
  });

  test.each([
    ['--seed=7', 'seed=7', '1000'],
    ['--batch_size=2', 'batch_size=2', '4'],
    ['--dataset.episodes=[0]', 'dataset.episodes=[0]', 'null'],
    ['--dataset.repo_id=me/other', 'dataset.repo_id=me/other', '"test/new"'],
    ['--policy.dim_model=32', 'policy.dim_model=32', '16'],
    ['--policy.optimizer_lr=0.5', 'policy.optimizer_lr=0.5', '0.001'],
    ['--policy.dropout=0', 'policy.dropout=0', '0.1'],
    ['--rename_map={"a":"b"}', 'rename_map.a=b', 'nothing'],
    ['--craft.retention_freq=2', 'craft.retention_freq=2', '3'],
    ['--craft.enabled=false', 'craft.enabled=false', 'true'],
    ['--craft.anchor_episodes=[0]', 'craft.anchor_episodes=[0]', 'null'],
  ])('%s: an error', async (flag, found, before) => {
    const { code, err } = await resume(flag);
    expect(code).toBe(2);
    expect(err).toContain(`${found}: cannot change on resume; the run was started with ${before}`);
    expect(err.trim().split('\n')).toHaveLength(1);
  });

  test('CRaFT cannot be switched on for a run that began without it', async () => {
    const plain = join(folder, 'plain');
    await train(flags(data, plain, '--steps=2'));
    const { code, err } = await train(['--resume', plain, '--steps=4', ...craftFlags(old)]);
    expect(code).toBe(2);
    expect(err).toContain('craft.enabled=true: cannot change on resume; the run was started with false');
  });

  test('a run that was trained with CRaFT never goes on without it by accident', async () => {
    const copy = join(testFolder(), 'run');
    cpSync(run, copy, { recursive: true, verbatimSymlinks: true });
    rmSync(join(checkpoint(copy, 4), 'pretrained_model/craft_config.json'));
    const { code, err } = await train(['--resume', copy, '--steps=6']);
    expect(code).toBe(1);
    expect(err).toMatch(/craft_config\.json is missing, but the run was trained with CRaFT/);
  });

  test('a run continued under another name does not touch a third one', async () => {
    const third = join(testFolder(), 'third');
    mkdirSync(third);
    writeFileSync(join(third, 'precious'), '1');
    const { code, err } = await resume('--steps=6', `--output_dir=${third}`);
    expect({ code, err }).toMatchObject({ code: 1, err: expect.stringContaining(`${third} is not empty`) });
    expect([...filesOf(third).keys()]).toEqual(['precious']);
    const elsewhere = join(testFolder(), 'elsewhere');
    expect(await resume('--steps=6', `--output_dir=${elsewhere}`)).toMatchObject({ code: 0 });
    expect(existsSync(checkpoint(elsewhere, 6))).toBe(true);
  });

  test.each([
    [
      'training_state/training_step.json',
      '{"step": -1}',
      /training_step\.json: "step" must be a whole number/,
    ],
    ['training_state/training_step.json', '{"st', /training_step\.json: /],
    ['training_state/training_step.json', null, /training_step\.json: ENOENT/],
    ['training_state/optimizer_state.safetensors', null, /optimizer_state\.safetensors: /],
    ['training_state/optimizer_state.safetensors', 'broken', /optimizer_state\.safetensors: /],
    ['training_state/rng_state.safetensors', null, /rng_state\.safetensors: /],
    ['training_state/metrics_state.json', '{', /metrics_state\.json: the file is damaged/],
    ['training_state/craft_state.json', null, /craft_state\.json is missing/],
    ['training_state/craft_state.json', '{}', /craft_state\.json: version: /],
    ['training_state/lambda_history.csv', 'a,b', /lambda_history\.csv: line 1: /],
    ['pretrained_model/model.safetensors', null, /pretrained_model: .*model\.safetensors/],
    ['pretrained_model/policy_preprocessor.json', null, /policy_preprocessor\.json/],
    ['pretrained_model/train_config.json', '{', /train_config\.json: /],
  ])('a checkpoint with %s = %j is refused', async (file, content, message) => {
    const copy = join(testFolder(), 'run');
    cpSync(run, copy, { recursive: true, verbatimSymlinks: true });
    const path = join(checkpoint(copy, 4), file);
    if (content === null) rmSync(path);
    else writeFileSync(path, content);
    const before = filesOf(copy);
    const { code, err } = await train(['--resume', copy, '--steps=6']);
    expect(code).toBeGreaterThan(0);
    const errors = err.split('\n').filter((line) => line !== '' && !line.includes('warning'));
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatch(message);
    expect(filesOf(copy)).toEqual(before);
  });

  test('the configuration in the checkpoint is complete', () => {
    const config = readJson(checkpoint(run, 4), 'pretrained_model/train_config.json');
    expect(Object.keys(config)).not.toContain('craft');
    expect(config).toMatchObject({ steps: 4, seed: 1000, optimizer: { lr: 1e-3 }, policy: { type: 'act' } });
  });
});
