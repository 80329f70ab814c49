import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { makeTask, metricsOf, readJson, testFolder, withoutTimes } from '../../training/test/training.js';
import { craft } from '../test/craft.js';
import { checkpoint, craftFlags, flags, train } from '../test/runs.js';

const folder = testFolder();
const old = makeTask(join(folder, 'old'), { mark: -1 });
const data = makeTask(join(folder, 'new'), { mark: 1, turn: 180, seed: 2 });
const teacher = join(folder, 'teacher');

/** The weights and the log of a run. */
const outcome = (run: string, step: number) => ({
  weights: readFileSync(join(checkpoint(run, step), 'pretrained_model/model.safetensors')),
  log: metricsOf(run).slice(-2).map(withoutTimes),
});

test('a policy of the old task', async () => {
  const ran = await train(flags(old, teacher, '--steps=30'));
  expect(ran).toMatchObject({ code: 0 });
});

const start = () => [`--policy.path=${join(teacher, 'checkpoints/last/pretrained_model')}`];

describe.each([
  ['action', ['--craft.retention_mode=action']],
  ['hidden', ['--craft.retention_mode=hidden', '--craft.hidden_layers=[-2,-1]']],
  ['several', ['--craft.retention_modes={loss: 1, feature: 2}', '--craft.lambda_controller=pid']],
  [
    'stale',
    ['--craft.stale_projection=true', '--craft.surgery_granularity=module', '--craft.surgery=pcgrad'],
  ],
])('%s with a dataset of anchors', (name, more) => {
  const run = join(folder, name);
  const all = [
    ...[...start(), ...craftFlags(old), ...more],
    ...['--steps=10', '--save_freq=5', '--log_freq=5', '--gradient_accumulation_steps=2'],
  ];

  test('trains, and resumes exactly', async () => {
    const whole = await train(flags(data, run, ...all));
    expect(whole).toMatchObject({ code: 0 });
    expect(readJson(checkpoint(run, 5), 'training_state/craft_state.json')).toMatchObject({ version: 2 });
    const again = join(folder, `${name}-again`);
    const resumed = await train([`--resume=${checkpoint(run, 5)}`, `--output_dir=${again}`]);
    expect(resumed.err).not.toContain('error');
    expect(resumed.code).toBe(0);
    const [a, b] = [outcome(run, 10), outcome(again, 10)];
    expect(b.log.at(-1)).toEqual(a.log.at(-1));
    expect(b.weights.equals(a.weights)).toBe(true);
  });

  test('keeps what it needs beside the state', () => {
    const files = readdirSync(join(checkpoint(run, 10), 'training_state'));
    expect(files.includes('craft_teacher.safetensors')).toBe(name !== 'stale');
    expect(files.includes('craft_retention_gradient.safetensors')).toBe(name === 'stale');
  });
});

describe('with an anchor cache', () => {
  const cache = join(folder, 'cache');

  test('built by the teacher, it takes the place of both dataset and teacher', async () => {
    const built = await craft([
      ...['anchors', 'build', `--policy.path=${start()[0]!.slice('--policy.path='.length)}`],
      ...['--dataset.repo_id=test/old', `--dataset.root=${old}`, `--output_dir=${cache}`],
      ...['--kinds=[hidden,action]', '--num_anchors=16'],
    ]);
    expect(built).toMatchObject({ code: 0 });
    for (const mode of ['hidden', 'action']) {
      const run = join(folder, `cached-${mode}`);
      const ran = await train(
        flags(
          data,
          run,
          ...start(),
          ...['--craft.enabled=true', `--craft.anchor_cache_dir=${cache}`, `--craft.retention_mode=${mode}`],
          ...['--craft.anchor_batch_size=4', '--craft.retention_freq=2', '--steps=6'],
        ),
      );
      expect(ran).toMatchObject({ code: 0 });
      expect(metricsOf(run).at(-1)!.retention_loss).toBeGreaterThan(0);
      expect(existsSync(join(checkpoint(run, 6), 'training_state/craft_teacher.safetensors'))).toBe(false);
    }
  });

  test('without the kind that the mode needs, the run does not start', async () => {
    const run = join(folder, 'kind');
    const ran = await train(
      flags(data, run, ...start(), '--craft.enabled=true', `--craft.anchor_cache_dir=${cache}`, '--steps=2'),
    );
    expect(ran.code).toBe(1);
    expect(ran.err).toContain('this run needs task');
    expect(existsSync(join(run, 'checkpoints'))).toBe(false);
  });
});
