import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { safetensors, type Tensor, tensor, zeros } from '@craft-ft/torch';
import { beforeAll, describe, expect, test } from 'vitest';
import { editJson, readParquet, type TestColumn, writeParquet } from '../../datasets/test/datasets.js';
import {
  filesOf,
  fillDisk,
  makeTask,
  metricsOf,
  readJson,
  smallDisk,
  testFolder,
} from '../../training/test/training.js';
import { checkpoint, craftFlags, flags, train } from '../test/runs.js';

/** @file Runs the command on every kind of bad input: expects one line that names the culprit, an exit code, and nothing written. */

const folder = testFolder();
const good = makeTask(join(folder, 'good'));
const DATA = 'data/chunk-000/file-000.parquet';
let count = 0;

/** A copy of the good dataset with one thing wrong. */
function broken(damage: (root: string) => void | Promise<void>): Promise<string> {
  const root = join(folder, `broken-${count++}`);
  cpSync(good, root, { recursive: true });
  return Promise.resolve(damage(root)).then(() => root);
}

const newRun = (): string => join(folder, `run-${count++}`);

/** The error of a failing run, which must be the only output on standard error besides warnings. Nothing may have been written. */
async function errorOf(argv: string[], run: string, code = 1): Promise<string> {
  const ran = await train(argv);
  expect({ code: ran.code, err: ran.err }).toMatchObject({ code });
  const lines = ran.err.split('\n').filter((line) => line !== '' && !line.startsWith('craft: warning'));
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/^craft: error: /);
  expect(() => statSync(run)).toThrow('ENOENT');
  return lines[0]!;
}

/** Rewrites the data file with changed columns. */
async function rewrite(root: string, change: (columns: Record<string, TestColumn>) => void): Promise<void> {
  const rows = await readParquet(join(root, DATA));
  const column = (key: string, dtype: string, depth: number): TestColumn => [
    dtype,
    depth,
    rows.map((row) => row[key]),
  ];
  const columns: Record<string, TestColumn> = {
    'observation.state': column('observation.state', 'float32', 1),
    action: column('action', 'float32', 1),
    timestamp: column('timestamp', 'float32', 0),
    ...Object.fromEntries(
      ['frame_index', 'episode_index', 'index', 'task_index'].map((key) => [key, column(key, 'int64', 0)]),
    ),
  };
  change(columns);
  writeParquet(join(root, DATA), columns);
}

describe('datasets', () => {
  const info = (text: string | null) => (root: string) =>
    text === null ? rmSync(join(root, 'meta/info.json')) : writeFileSync(join(root, 'meta/info.json'), text);
  const cases: [string, (root: string) => void | Promise<void>, RegExp][] = [
    ['no info.json', info(null), /meta\/info\.json/],
    ['an empty info.json', info(''), /meta\/info\.json/],
    ['an info.json cut off', info('{"codebase_version": "v3'), /meta\/info\.json/],
    [
      'an info.json without features',
      info('{"codebase_version": "v3.0", "fps": 10}'),
      /info\.json: field "total_episodes"/,
    ],
    ['no data file', (root) => rmSync(join(root, DATA)), /data\/chunk-000\/file-000\.parquet/],
    [
      'a truncated data file',
      (root) => truncateSync(join(root, DATA), 500),
      /file-000\.parquet.*(truncated|not a Parquet)/,
    ],
    [
      'a column that is absent',
      (root) => rewrite(root, (columns) => delete columns.action),
      /file-000\.parquet.*"action"/,
    ],
    [
      'a column of another type',
      (root) =>
        rewrite(root, (columns) => {
          columns.action = ['string', 0, Array.from(columns.action![2], String)];
        }),
      /file-000\.parquet.*"action"/,
    ],
    [
      'NaN in the data',
      (root) =>
        rewrite(root, (columns) => {
          (columns['observation.state']![2][17] as number[])[1] = Number.NaN;
        }),
      /observation\.state.*NaN|NaN.*observation\.state/,
    ],
  ];

  test.each(cases)('%s', async (_, damage, message) => {
    const root = await broken(damage);
    const before = filesOf(root);
    const run = newRun();
    expect(await errorOf(flags(root, run), run)).toMatch(message);
    // The same dataset as anchors.
    expect(await errorOf(flags(good, run, ...craftFlags(root)), run)).toMatch(message);
    expect(filesOf(root)).toEqual(before);
  });

  test('a folder that is not there', async () => {
    const run = newRun();
    expect(await errorOf(flags(join(folder, 'nowhere'), run), run)).toContain(join(folder, 'nowhere'));
    expect(await errorOf(flags(good, run, ...craftFlags(join(folder, 'nowhere'))), run)).toContain(
      join(folder, 'nowhere'),
    );
  });

  test('an episode that is not there', async () => {
    const run = newRun();
    expect(await errorOf(flags(good, run, '--dataset.episodes=[0,99]'), run)).toContain('99');
    const anchors = [...craftFlags(good), '--craft.anchor_episodes=[77]'];
    expect(await errorOf(flags(good, run, ...anchors), run)).toContain('77');
  });
});

describe('a trained policy', () => {
  const policy = join(folder, 'policy');
  const tune = (path: string, dataset: string, run: string, ...more: string[]): string[] => [
    `--policy.path=${path}`,
    ...flags(dataset, run, ...more).filter((flag) => !flag.startsWith('--policy.')),
  ];
  beforeAll(async () => {
    expect(await train(flags(good, policy, '--steps=2'))).toMatchObject({ code: 0 });
  });

  test('on data with other features', async () => {
    const renamed = makeTask(join(folder, 'renamed'), { keys: { state: 'state', action: 'action' } });
    let run = newRun();
    expect(await errorOf(tune(policy, renamed, run), run)).toMatch(
      /renamed does not fit the policy: "observation\.state" is missing; the dataset has state, action \(--rename_map/,
    );
    run = newRun();
    expect(await errorOf(flags(good, run, ...craftFlags(renamed)), run)).toMatch(
      /renamed does not fit the policy: "observation\.state" is missing/,
    );
    const wider = await broken((root) =>
      editJson(join(root, 'meta/info.json'), (json) => {
        (json.features as Record<string, { shape: number[] }>)['observation.state']!.shape = [4];
      }),
    );
    run = newRun();
    expect(await errorOf(tune(policy, wider, run), run)).toMatch(
      /"observation\.state" has shape \[4\], the policy's is \[3\]/,
    );
  });

  /** A copy of the policy with changed tensors. */
  function damaged(change: (weights: Map<string, Tensor>) => void): string {
    const copy = join(folder, `damaged-${count++}`);
    cpSync(join(checkpoint(policy, 2), 'pretrained_model'), copy, { recursive: true });
    const file = join(copy, 'model.safetensors');
    const weights = safetensors.loadFile(file);
    change(weights);
    safetensors.saveFile(file, weights, { format: 'pt' });
    return copy;
  }

  const NAME = 'model.action_head.weight';
  test.each<[string, (weights: Map<string, Tensor>) => void, RegExp]>([
    ['missing', (weights) => weights.delete(NAME), /1 missing \(model\.action_head\.weight\)/],
    ['too many', (weights) => weights.set('model.extra', zeros([2])), /1 unexpected \(model\.extra\)/],
    [
      'of another shape',
      (weights) => weights.set(NAME, zeros([2, 5])),
      /1 misshaped \(model\.action_head\.weight \(\[2,5\], expected \[2,16\]\)\)/,
    ],
  ])('with a tensor %s', async (_, change, message) => {
    const run = newRun();
    const path = damaged(change);
    const error = await errorOf(tune(path, good, run), run);
    expect(error).toMatch(message);
    expect(error).toContain(join(path, 'model.safetensors'));
  });

  test('with a statistic missing', async () => {
    const run = newRun();
    const copy = damaged(() => {});
    const file = join(copy, 'policy_preprocessor_step_3_normalizer_processor.safetensors');
    const stats = safetensors.loadFile(file);
    stats.delete('action.std');
    safetensors.saveFile(file, stats);
    expect(await errorOf(tune(copy, good, run), run)).toMatch(/no statistic "std" of "action"/);
    rmSync(file);
    expect(await errorOf(tune(copy, good, run), run)).toContain('policy_preprocessor_step_3');
  });

  test('with weights that are NaN: the run stops at its first step', async () => {
    const run = newRun();
    const path = damaged((weights) => weights.set('model.action_head.bias', tensor([Number.NaN, 0])));
    const { code, err } = await train(tune(path, good, run));
    expect({ code, err }).toEqual({
      code: 1,
      err: expect.stringMatching(/^craft: error: step 1: loss is NaN; the weights were not updated\..*\n$/),
    });
    expect([...filesOf(run).keys()]).toEqual([]);
  });
});

describe('a loss that becomes NaN', () => {
  const run = join(folder, 'nan');
  let before = new Map<string, string>();
  const more = ['--policy.use_vae=false', '--log_freq=1', '--optimizer.weight_decay=0'];
  beforeAll(async () => {
    expect(await train(flags(good, run, '--steps=4', ...more))).toMatchObject({ code: 0 });
    before = filesOf(checkpoint(run, 4));
  });

  test.each([
    // Steps this large overflow float32 within a few updates, or at once.
    [
      '--optimizer.lr=1e25',
      '--save_freq=0',
      /^craft: error: step [6-9]: (loss|norm of the gradient) is (NaN|Infinity); the weights were/,
    ],
    [
      '--optimizer.lr=1e38',
      '--optimizer.weight_decay=3',
      /^craft: error: step 5: the update made weights infinite or NaN, they are not saved; .*1e\+38/,
    ],
  ])('with %s stops the run, names the step, keeps the last good checkpoint', async (lr, other, message) => {
    const resume = ['--resume', run, '--steps=40'];
    const { code, err } = await train([...resume, '--save_freq=1', lr, other]);
    expect(code).toBe(1);
    expect(err.trim().split('\n').at(-1)!).toMatch(message);
    expect(filesOf(checkpoint(run, 4))).toEqual(before);
    expect(filesOf(join(run, 'checkpoints/last'))).toEqual(before);
    expect(metricsOf(run).every(({ loss }) => Number.isFinite(loss))).toBe(true);
  });

  test('from the last good checkpoint it goes on', async () => {
    expect(await train(['--resume', run, '--steps=6'])).toMatchObject({ code: 0 });
    expect(metricsOf(run).map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6]);
  });
});

const disk = smallDisk();

// Only root can create a full disk.
test.skipIf(disk === null)(
  'no space left while saving: the earlier checkpoint is intact, and goes on',
  async () => {
    const run = join(disk!, 'run');
    let free = () => {};
    const { code, err } = await train(flags(good, run, '--save_freq=5', '--log_freq=0'), (line) => {
      if (line.includes('saved')) free = fillDisk(disk!);
    });
    expect({ code, err }).toEqual({
      code: 1,
      err: `craft: error: ${checkpoint(run, 10)}: no space left on the disk; earlier checkpoints are intact\n`,
    });
    expect(readdirSync(join(run, 'checkpoints'))).toEqual(['000005', 'last']);
    free();
    expect(await train(['--resume', run, '--steps=6'])).toMatchObject({ code: 0 });
  },
);

describe('the output directory', () => {
  test('already holds a run: nothing in it is touched', async () => {
    const run = newRun();
    expect(await train(flags(good, run, '--steps=2'))).toMatchObject({ code: 0 });
    const before = filesOf(run);
    const { code, err } = await train(flags(good, run, '--steps=2'));
    expect({ code, err }).toEqual({
      code: 1,
      err: `craft: error: ${run} is not empty: choose another --output_dir, or continue the run in it with --resume ${run}\n`,
    });
    expect(filesOf(run)).toEqual(before);
  });

  test('is a file, or lies below one', async () => {
    const file = join(folder, `file-${count++}`);
    writeFileSync(file, 'precious');
    for (const path of [file, join(file, 'below')]) {
      const { code, err } = await train(flags(good, path, '--steps=2'));
      expect(code).toBe(1);
      expect(err.trim().split('\n')).toHaveLength(1);
      expect(err).toContain(path);
    }
    expect(readFileSync(file, 'utf8')).toBe('precious');
  });

  test('may exist when it is empty', async () => {
    const run = newRun();
    mkdirSync(run);
    expect(await train(flags(good, run, '--steps=1'))).toMatchObject({ code: 0 });
    expect(readJson(checkpoint(run, 1), 'training_state/training_step.json')).toMatchObject({ step: 1 });
  });
});
