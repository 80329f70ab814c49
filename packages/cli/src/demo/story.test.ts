import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Command } from '../command.js';
import { demo } from './demo.js';
import { DEMOS } from './settings.js';

/** The outcome of each command of the demo; nothing is recorded or trained here. */
const commands = vi.hoisted(() => ({
  record: (async () => 0) as Command,
  tokenizer: (async () => 0) as Command,
  train: async () => 0,
  eval: (async () => 0) as Command,
}));
vi.mock('../commands/world.js', () => ({
  recordCommand: (...args: Parameters<Command>) => commands.record(...args),
}));
vi.mock('../commands/tokenizer.js', () => ({
  tokenizerTrain: { run: (...args: Parameters<Command>) => commands.tokenizer(...args) },
}));
vi.mock('../run-train.js', () => ({ runTrain: () => commands.train() }));
vi.mock('../load-config.js', () => ({ loadTrainConfig: () => ({}) }));
vi.mock('../commands/eval.js', () => ({
  evalCommand: (...args: Parameters<Command>) => commands.eval(...args),
}));

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'story-'));
  Object.assign(commands, { record: done, tokenizer: done, train: done, eval: done });
});
afterEach(() => rmSync(folder, { recursive: true }));

const done = async () => 0;

async function tell(seeds = 1) {
  let out = '';
  const request = { policy: 'pi0-fast', settings: DEMOS['pi0-fast'], seed: 1, seeds, resume: false } as const;
  const output = {
    out: (text: string) => {
      out += text;
    },
    err: () => {},
    columns: 100,
  };
  const code = await demo({ ...request, folder: join(folder, 'demo') }, output);
  return { code, out };
}

test.each(['record', 'tokenizer', 'train', 'eval'] as const)(
  'how to go on is said after an interrupted %s',
  async (name) => {
    commands[name] = async () => 130;
    const { code, out } = await tell();
    expect(code).toBe(130);
    expect(out).toMatch(/\nTo go on: the same command with --output_dir=\S*demo --resume=true\n$/);
  },
);

test('Ctrl-C while the tokeniser is trained ends the demo after it', async () => {
  const before = process.listenerCount('SIGINT');
  let trained = false;
  commands.tokenizer = async () => {
    process.kill(process.pid, 'SIGINT');
    // No signal is delivered while it computes.
    for (const end = performance.now() + 20; performance.now() < end; );
    trained = true;
    return 0;
  };
  commands.train = () => expect.unreachable();
  expect(await tell()).toMatchObject({ code: 130, out: expect.stringContaining('To go on: ') });
  expect([trained, process.listenerCount('SIGINT')]).toEqual([true, before]);
});

/** An evaluation, and the log of the run it evaluates. */
const evaluated: Command = async (argv) => {
  const results = argv.find((flag) => flag.startsWith('--output_dir='))!.slice('--output_dir='.length);
  mkdirSync(results, { recursive: true });
  const rate = { successes: 1, n_episodes: 2, per_episode: [{ video: null }] };
  const tasks = ['place-in-red-bin', 'place-in-blue-bin'].map((task) => ({ task, ...rate }));
  writeFileSync(join(results, 'eval_info.json'), JSON.stringify({ per_task: tasks }));
  const log = { step: 1, loss: 1, 'pc_success/place-in-red-bin': 50, 'pc_success/place-in-blue-bin': 50 };
  writeFileSync(join(results, '..', 'metrics.jsonl'), `${JSON.stringify(log)}\n`);
  return 0;
};

test('several seeds: the last line says what the page has, and the pages that it leads to are there', async () => {
  commands.eval = evaluated;
  const { code, out } = await tell(2);
  expect(code).toBe(0);
  const page = join(folder, 'demo', 'report.html');
  expect(out).toMatch(/ With links to curves and videos of each seed: \S+report\.html\n$/);
  expect(out.trimEnd().endsWith(page)).toBe(true);
  const links = [...readFileSync(page, 'utf8').matchAll(/<a href="([^"]*)">/g)].map(([, to]) => to!);
  expect(links).toEqual(['seed-1/report.html', 'seed-2/report.html']);
  for (const link of links) expect(existsSync(join(folder, 'demo', link))).toBe(true);
});
