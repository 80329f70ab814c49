import { expect, test } from 'vitest';
import { ConfigError } from '../../policies/src/config/check.js';
import { checkResume } from './resume.js';

const rules = { free: ['log_freq', 'dataset.root'], warned: ['steps', 'optimizer'] };
const saved = {
  log_freq: 1,
  steps: 10,
  seed: 1,
  dataset: { root: '/a', episodes: [1, 2] },
  optimizer: { type: 'adamw', lr: 1 },
  scheduler: null,
  rename_map: { a: 'b' },
};

function problems(now: object): string[] {
  try {
    checkResume(saved, { ...saved, ...now }, rules, 'run/checkpoints/000010');
    return [];
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as ConfigError).message).toMatch(/^run\/checkpoints\/000010: /);
    return (error as ConfigError).problems.map(({ field }) => field);
  }
}

test('what is free changes without a word, what is warned of with one line each', () => {
  const now = {
    ...saved,
    log_freq: 5,
    steps: 20,
    dataset: { ...saved.dataset, root: '/b' },
    optimizer: { type: 'adamw', lr: 2 },
  };
  expect(checkResume(saved, now, rules, 'run')).toEqual([
    'steps changes from 10 to 20: the run continues, but not as it would have',
    'optimizer.lr changes from 1 to 2: the run continues, but not as it would have',
  ]);
  expect(checkResume(saved, structuredClone(saved), rules, 'run')).toEqual([]);
});

test('everything else must stay, whatever its shape; all problems at once', () => {
  expect(problems({ seed: 2 })).toEqual(['seed']);
  expect(problems({ seed: 2, dataset: { root: '/a', episodes: [1, 2, 3] } })).toEqual([
    'seed',
    'dataset.episodes',
  ]);
  expect(problems({ scheduler: { type: 'linear' } })).toEqual(['scheduler']);
  expect(problems({ rename_map: {} })).toEqual(['rename_map.a']);
  expect(problems({ rename_map: { a: 'b', c: 'd' } })).toEqual(['rename_map.c']);
  expect(problems({ added: 1 })).toEqual(['added']);
  // A field that only begins like a free one.
  expect(problems({ log_freq_2: 1 })).toEqual(['log_freq_2']);
});
