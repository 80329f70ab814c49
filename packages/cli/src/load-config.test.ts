import { mkdirSync, mkdtempSync, readdirSync, realpathSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { loadTrainConfig } from './load-config.js';

let folder = '';
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'craft-')));
});

const basic = ['--policy.type=act', '--dataset.repo_id=me/data'];

/** A run as training leaves it, saved under a different name than the one it has now. */
function makeRun(): { run: string; checkpoint: string } {
  const run = join(folder, 'run');
  const checkpoint = join(run, 'checkpoints', 'last');
  mkdirSync(join(checkpoint, 'pretrained_model'), { recursive: true });
  const { config } = loadTrainConfig([
    ...basic,
    '--steps=500',
    '--policy.chunk_size=20',
    '--policy.n_action_steps=10',
  ]);
  const saved = { ...config, resume: true, output_dir: '/somewhere/else' };
  writeFileSync(join(checkpoint, 'pretrained_model', 'train_config.json'), JSON.stringify(saved));
  writeFileSync(join(checkpoint, 'pretrained_model', 'config.json'), JSON.stringify(config.policy));
  return { run, checkpoint };
}

test('a typical LeRobot command line', () => {
  const { config, resumeFrom, ignored } = loadTrainConfig([
    ...basic,
    '--output_dir=outputs/train/act_so101',
    '--job_name=act_so101',
    '--policy.device=cuda',
    '--wandb.enable=false',
    '--policy.push_to_hub=false',
    '--policy.repo_id=me/my_policy',
    '--eval_freq=20000',
    '--dataset.video_backend=pyav',
  ]);
  expect(config).toMatchObject({
    job_name: 'act_so101',
    policy: { device: 'cuda', repo_id: 'me/my_policy' },
  });
  expect(resumeFrom).toBeNull();
  expect(config).toMatchObject({ env: null, eval_freq: 20_000 });
  expect(ignored).toEqual(['dataset.video_backend=pyav (cameras are decoded by one built-in decoder)']);
});

test("the document's dry run, with either policy", () => {
  const flags =
    '--dataset.repo_id=lerobot/aloha_sim_insertion_human --batch_size=8 --steps=1 --output_dir=outputs/dry';
  const { config } = loadTrainConfig(['--policy.type=act', ...flags.split(' ')]);
  expect(config).toMatchObject({ batch_size: 8, steps: 1, output_dir: 'outputs/dry' });
  expect(loadTrainConfig(['--policy.type=pi0_fast', ...flags.split(' ')]).config.policy).toMatchObject({
    type: 'pi0_fast',
    text_tokenizer_name: 'google/paligemma-3b-pt-224',
  });
});

test('CRaFT flags', () => {
  const on = ['--craft.enabled=true', '--craft.anchor_dataset_path=old', '--craft.anchor_episodes=[10,28]'];
  expect(loadTrainConfig([...basic, ...on]).config.craft).toMatchObject({
    enabled: true,
    anchor_dataset_path: 'old',
    anchor_episodes: [10, 28],
    lambda_max: 10,
  });
  expect(() => loadTrainConfig([...basic, '--craft.enabled=true'])).toThrow(
    'craft.anchor_dataset_path=: expected the',
  );
  expect(() => loadTrainConfig([...basic, '--craft.lambda_lr=0.1'])).toThrow('add --craft.enabled=true');
  expect(
    loadTrainConfig([...basic, '--craft.lambda_lr=0.1', '--craft.enabled=false']).config.craft.lambda_lr,
  ).toBe(0.1);
});

describe('--method', () => {
  const anchors = '--replay.anchor_dataset_path=old';
  const method = (...argv: string[]) => loadTrainConfig([...basic, ...argv]).config;

  test('chooses a method, with its group of flags', () => {
    expect(method().method).toBe('baseline');
    const config = method('--method=replay', anchors, '--replay.weight=0.5');
    expect(config).toMatchObject({
      method: 'replay',
      replay: { weight: 0.5, anchor_dataset_path: 'old' },
      craft: { enabled: false },
    });
    expect(method('--method.type=replay', anchors).method).toBe('replay');
    expect(() => method('--method=replay')).toThrow('replay.anchor_dataset_path=: expected the dataset');
    expect(() => method('--method=replay', '--replay.wight=1')).toThrow('did you mean');
    expect(() => method('--method=ewc')).toThrow('method');
  });

  test('craft is the same as craft.enabled', () => {
    const old = '--craft.anchor_dataset_path=old';
    const both = [method('--method=craft', old), method('--craft.enabled=true', old)];
    expect(both.map((config) => [config.method, config.craft])).toEqual([
      ['craft', both[1]!.craft],
      ['craft', both[0]!.craft],
    ]);
    expect(both[0]!.craft.enabled).toBe(true);
    expect(() => method('--method=craft', '--craft.enabled=false', old)).toThrow(
      'craft.enabled=false: expected true with method=craft',
    );
    expect(() => method('--method=baseline', '--craft.enabled=true', old)).toThrow(
      'method=baseline: expected craft, since craft.enabled is true',
    );
  });

  test('settings of another method are refused', () => {
    expect(() => method('--replay.weight=2')).toThrow('expected replay, since replay.weight is given');
    expect(() => method('--method=replay', anchors, '--craft.lambda_lr=1')).toThrow(
      'add --craft.enabled=true (or =false to set it aside)',
    );
  });
});

test('a file, JSON or YAML, is overridden by flags', () => {
  const json = join(folder, 'c.json');
  const yaml = join(folder, 'c.yaml');
  writeFileSync(
    json,
    '{"dataset": {"repo_id": "a"}, "policy": {"type": "act"}, "steps": 7, "batch_size": 2}',
  );
  writeFileSync(
    yaml,
    'dataset: {repo_id: a, episodes: [1, 2]}\npolicy:\n  type: act\nsteps: 7\nbatch_size: 2\n',
  );
  for (const file of [json, yaml]) {
    expect(loadTrainConfig([`--config_path=${file}`, '--steps=9']).config).toMatchObject({
      steps: 9,
      batch_size: 2,
    });
  }
  writeFileSync(yaml, 'steps: [1');
  expect(() => loadTrainConfig(['--config_path', yaml])).toThrow(/c\.yaml: /);
  writeFileSync(json, '[1]');
  expect(() => loadTrainConfig(['--config_path', json])).toThrow('c.json: expected a JSON object');
  expect(() => loadTrainConfig(['--config_path', folder])).toThrow('is this a run?');
});

test('a run is continued by its folder, or as in LeRobot', () => {
  const { run, checkpoint } = makeRun();
  const file = join(checkpoint, 'pretrained_model', 'train_config.json');
  for (const argv of [
    ['--resume', run],
    [`--resume=${run}`],
    ['--resume=true', `--config_path=${file}`],
    [`--config_path=${checkpoint}`, '--resume'],
    [`--output_dir=${run}`, '--resume'],
  ]) {
    const { config, resumeFrom, saved } = loadTrainConfig([...argv, '--steps=900']);
    expect(resumeFrom).toBe(checkpoint);
    expect(config).toMatchObject({ resume: true, steps: 900, output_dir: run, policy: { chunk_size: 20 } });
    expect(saved).toMatchObject({ steps: 500 });
  }
});

test("a run's configuration starts a new run unless resume is asked for", () => {
  const { run } = makeRun();
  const { config, resumeFrom } = loadTrainConfig([`--config_path=${run}`, '--output_dir=new']);
  expect(resumeFrom).toBeNull();
  expect(config).toMatchObject({ resume: false, output_dir: 'new' });
});

test('resume without a run is refused', () => {
  expect(() => loadTrainConfig([...basic, '--resume'])).toThrow('--resume needs the run to continue');
  expect(() => loadTrainConfig(['--resume', join(folder, 'nothing')])).toThrow('no such file or folder');
  const { run } = makeRun();
  expect(() => loadTrainConfig(['--resume', run, `--policy.path=${run}`])).toThrow('leave out --policy.path');
});

test('a policy folder gives the configuration, flags override it', () => {
  const { run, checkpoint } = makeRun();
  const { config } = loadTrainConfig([
    `--policy.path=${run}`,
    '--dataset.repo_id=b',
    '--policy.n_action_steps=5',
  ]);
  expect(config.policy).toMatchObject({
    chunk_size: 20,
    n_action_steps: 5,
    pretrained_path: join(checkpoint, 'pretrained_model'),
  });
  const yaml = join(folder, 'c.yaml');
  writeFileSync(yaml, `dataset: {repo_id: a}\npolicy: {path: "${run}", n_action_steps: 4}\n`);
  expect(loadTrainConfig([`--config_path=${yaml}`]).config.policy).toMatchObject({
    chunk_size: 20,
    n_action_steps: 4,
  });
  expect(() => loadTrainConfig(['--policy.path=lerobot/act', '--dataset.repo_id=b'])).toThrow(
    'lerobot/act: no such',
  );
  expect(() => loadTrainConfig(['--policy.path'])).toThrow('--policy.path needs a path');
});

test('nothing is written while the configuration is put together', () => {
  const before = readdirSync('.');
  loadTrainConfig(basic);
  expect(readdirSync('.')).toEqual(before);
});
