import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { craft } from '../../test/craft.js';

const folder = mkdtempSync(join(tmpdir(), 'world-'));
afterAll(() => rmSync(folder, { recursive: true }));

it('records, trains on it, and evaluates', async () => {
  const root = join(folder, 'data');
  const recorded = await craft([
    'world',
    'record',
    '--task=press-button,lift',
    '--episodes=2',
    '--repo_id=me/world',
    `--root=${root}`,
    '--num_workers=1',
  ]);
  expect(recorded.err).toContain('4/4 episodes');
  expect(recorded).toMatchObject({ code: 0, out: expect.stringContaining(`${root}: 4 episodes, `) });
  const run = join(folder, 'run');
  const sizes = ['dim_model=16', 'n_heads=2', 'dim_feedforward=16', 'chunk_size=5', 'n_action_steps=5'];
  const trained = await craft([
    'train',
    '--policy.type=act',
    '--policy.device=cpu',
    ...sizes.map((size) => `--policy.${size}`),
    '--dataset.repo_id=me/world',
    `--dataset.root=${root}`,
    '--steps=2',
    '--batch_size=2',
    `--output_dir=${run}`,
  ]);
  expect([trained.code, trained.err]).toEqual([0, expect.any(String)]);
  const results = join(folder, 'results');
  const evaluation = [
    'eval',
    `--policy.path=${run}`,
    '--env.type=tabletop',
    '--env.task=press-button,lift',
    '--eval.n_episodes=2',
    '--eval.n_videos=1',
    '--eval.video_size=[32,32]',
  ];
  const evaluated = await craft([...evaluation, `--output_dir=${results}`]);
  expect(evaluated.code).toBe(0);
  expect(evaluated.out).toMatch(/^press-button +0\.0 % success \(0 of 2; 95 % interval 0\.0 to 65\.8\)$/m);
  expect(evaluated.out).toMatch(/^all +0\.0 % success \(0 of 4;/m);
  const info = JSON.parse(readFileSync(join(results, 'eval_info.json'), 'utf8'));
  expect(info.per_task[1].per_episode[0]).toMatchObject({ seed: 1000, success: false, steps: 150 });
  expect(existsSync(info.per_task[1].per_episode[0].video)).toBe(true);

  const files = () => readdirSync(results, { recursive: true }).toSorted();
  const before = files();
  const interrupted = await interruptedAtOnce([...evaluation, '--seed=7', `--output_dir=${results}`]);
  expect(interrupted).toMatchObject({
    code: 130,
    out: '',
    err: 'craft: interrupted after 0 of 2 tasks; eval_info.json was not written\n',
  });
  expect(files()).toEqual(before);
  expect(JSON.parse(readFileSync(join(results, 'eval_info.json'), 'utf8'))).toEqual(info);

  const below = join(results, 'eval_info.json', 'below');
  expect(await craft([...evaluation, `--output_dir=${below}`])).toMatchObject({
    code: 1,
    err: `craft: error: ${below}: the folder cannot be made: something above it is not a folder; choose another one\n`,
  });
});

/** Runs a command that receives Ctrl-C as soon as it listens for it. */
async function interruptedAtOnce(words: string[]) {
  const deaf = process.listenerCount('SIGINT');
  const waiting = setInterval(() => {
    if (process.listenerCount('SIGINT') === deaf) return;
    clearInterval(waiting);
    process.emit('SIGINT');
  }, 1);
  return craft(words);
}

it('says what is wrong with the command line', async () => {
  const cases: [string[], string][] = [
    [['world'], 'Usage: craft world COMMAND'],
    [['world', 'recrod'], 'did you mean record?'],
    [['world', 'record', '--task=stak', '--repo_id=a/b'], 'task=stak: did you mean stack?'],
    [['world', 'record', '--task=lift', '--repo_id=a/b', '--cameras=tp'], 'did you mean top?'],
    [
      ['world', 'record', '--task=lift', '--repo_id=a/b', '--cameras=top', '--image_size=[97,96]'],
      'expected even numbers from 30 on for video',
    ],
    [['eval', '--policy.path=p', '--env.task=lifd'], 'env.task=lifd: did you mean lift?'],
    [
      ['eval', '--policy.path=p', '--env.task=lift,stack,lift'],
      'env.task=lift,stack,lift: expected lift once',
    ],
    [['eval', '--policy.path=p', '--env.task=lift', '--env.type=kitchen'], 'env.type'],
    [['eval', '--policy.path=p', '--env.task=lift', '--eval.n_videos=2'], 'expected a folder for the videos'],
  ];
  for (const [words, message] of cases) {
    expect(await craft(words)).toMatchObject({ code: 2, err: expect.stringContaining(message) });
  }
  for (const words of [['world'], ['world', 'record'], ['eval']]) {
    const { code, out } = await craft([...words, '--help']);
    expect([code, out.split('\n').filter((line) => line.length > 100)]).toEqual([0, []]);
  }
});
