import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { craft } from '../../test/craft.js';
import { loadTrainConfig } from '../load-config.js';
import { demo } from './demo.js';
import { baseMethod } from './methods.js';
import { DEMO_POLICIES, DEMOS, type DemoSettings } from './settings.js';

const folder = mkdtempSync(join(tmpdir(), 'demo-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Every part in miniature; nothing is learned. */
const MINIATURE: DemoSettings = {
  ...DEMOS['act-state'],
  episodes: { red: 1, blue: 1 },
  anchors: ['--craft.anchor_episodes=[0]'],
  anchorBatchSize: 2,
  batchSize: 4,
  trainSteps: 2,
  fineTuneSteps: 2,
  trials: 1,
  trainEvalFreq: 2,
  fineTuneEvalFreq: 1,
  rollouts: 1,
  videoSize: [32, 32],
  policy: [
    ...DEMOS['act-state'].policy,
    '--policy.chunk_size=60',
    '--policy.n_action_steps=60',
    '--policy.dim_model=8',
    '--policy.n_heads=1',
  ],
};

const quiet = { out: () => {}, err: () => {}, columns: 100 };

interface Saved {
  seed: number;
  policies: { policy: string; red: object; blue: object; videos: { red: string; blue: string } }[];
}

test('the whole quickstart in miniature', async () => {
  let printed = '';
  const out = (text: string) => {
    printed += text;
  };
  const request = {
    policy: 'act-state',
    settings: MINIATURE,
    seed: 3,
    seeds: 1,
    folder,
    resume: false,
  } as const;
  expect(await demo(request, { out, err: () => {}, columns: 100 })).toBe(0);

  const [saved, ...more] = JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8')) as Saved[];
  expect(more).toEqual([]);
  expect(saved!.seed).toBe(3);
  expect(saved!.policies.map(({ policy }) => policy)).toEqual([
    'trained on red',
    'fine-tuned, plain',
    'fine-tuned, replay',
    'fine-tuned, CRaFT',
  ]);
  for (const { red, blue, videos } of saved!.policies) {
    for (const rate of [red, blue]) expect(rate).toEqual({ successes: expect.any(Number), episodes: 1 });
    expect([existsSync(videos.red), existsSync(videos.blue)]).toEqual([true, true]);
  }
  // Every method is evaluated on both tasks during training, and uses the same data.
  const logs = ['red', 'blue-plain', 'blue-replay', 'blue-craft'].map((run) => log(join(folder, run)));
  expect(logs.map((lines) => lines.length)).toEqual([1, 2, 2, 2]);
  for (const line of logs.flat()) {
    for (const task of ['place-in-red-bin', 'place-in-blue-bin']) {
      expect(line[`pc_success/${task}`]).toEqual(expect.any(Number));
    }
  }
  const [, plain, replay, constrained] = logs;
  expect([replay![0]!.loss, constrained![0]!.loss]).toEqual([plain![0]!.loss, plain![0]!.loss]);
  expect([replay![1]!.lambda, constrained![1]!.lambda === 1]).toEqual([1, false]);

  expect(printed).toContain('craft train --policy.type=act');
  expect(printed).toMatch(/ place-in-red-bin:\d+% place-in-blue-bin:\d+% /);
  expect(printed).toMatch(/asked for red +asked for blue\n +trained on red +\d+ % +\(\d+ to \d+ %\)/);
  const page = readFileSync(join(folder, 'report.html'), 'utf8');
  for (const part of ['asked for red', 'Success at place-in-red-bin', 'data:video/mp4', 'λ'])
    expect(page).toContain(part);

  // Finished parts are skipped; missing ones are redone with the same result.
  const results = readFileSync(join(folder, 'results.json'), 'utf8');
  rmSync(join(folder, 'blue-craft'), { recursive: true });
  printed = '';
  expect(await demo({ ...request, resume: true }, { out, err: () => {}, columns: 100 })).toBe(0);
  expect(printed.match(/Done already/g)).toHaveLength(8);
  expect(readFileSync(join(folder, 'results.json'), 'utf8')).toBe(results);
  await expect(demo(request, quiet)).rejects.toMatchObject({
    code: 'OUTPUT_EXISTS',
    message: `${folder} is not empty: choose another --output_dir, or go on with what is there: --resume=true`,
  });
  await expect(demo({ ...request, seed: 4, resume: true }, quiet)).rejects.toMatchObject({
    code: 'DEMO_RESUME',
    message: `${join(folder, 'demo.json')}: seed is 3 there, not 4; give --seed=3`,
  });
}, 60_000);

test.each(DEMO_POLICIES)('what %s is trained with is a configuration', (policy) => {
  const places = { data: 'data', base: 'red', tokenizer: 'tokenizer', seed: 1 };
  const { flags, steps } = baseMethod(DEMOS[policy], places);
  const { config } = loadTrainConfig([...flags, `--output_dir=${join(folder, 'new')}`]);
  expect(config).toMatchObject({
    steps,
    seed: 1,
    policy: { type: policy === 'pi0-fast' ? 'pi0_fast' : 'act' },
  });
});

test('flags', async () => {
  expect((await craft(['quickstart', '--help'])).out).toContain('--seeds');
  expect(await craft(['quickstart', '--seeds=0'])).toMatchObject({ code: 2 });
  expect((await craft(['quickstart', '--sed=1'])).err).toContain('--seed');
  expect((await craft(['quickstart', '--resume=true'])).err).toContain(
    'output_dir=null: expected the folder',
  );
  expect((await craft(['demo', '--help'])).out).toContain('act-vision');
  expect((await craft(['demo', '--policy=act'])).err).toMatch(
    /policy=act: expected act-state\|act-vision\|pi0-fast/,
  );
});

function log(run: string): Record<string, number>[] {
  const lines = readFileSync(join(run, 'metrics.jsonl'), 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line));
}
