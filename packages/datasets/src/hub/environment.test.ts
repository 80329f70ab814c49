import { homedir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { datasetCacheFolder, hubEndpoint, looksLikeRepoId, policyCacheFolder } from './environment.js';

afterEach(() => vi.unstubAllEnvs());

test.each(['lerobot/pusht', 'user/so101_orange.cube-v3', 'A/b', '1/2'])('%s is a name on the Hub', (text) => {
  expect(looksLikeRepoId(text)).toBe(true);
});

test.each([
  'pusht',
  './a/b',
  '../a',
  'a/..',
  '/a/b',
  '~/a',
  'a/b/c',
  'a/',
  '/b',
  'a//b',
  'a/b--c',
  'a/b..c',
  'a/b.git',
  'a\\b',
  'C:/x',
  'a b/c',
  '-a/b',
  `a/${'b'.repeat(100)}`,
  '',
])('%j is none', (text) => {
  expect(looksLikeRepoId(text)).toBe(false);
});

test('folders and address follow the environment of huggingface_hub and LeRobot', () => {
  for (const name of ['HF_HOME', 'HF_LEROBOT_HOME', 'XDG_CACHE_HOME', 'HF_ENDPOINT']) vi.stubEnv(name, '');
  expect(datasetCacheFolder('user/set')).toBe(join(homedir(), '.cache/huggingface/lerobot/user/set'));
  expect(hubEndpoint()).toBe('https://huggingface.co');
  vi.stubEnv('XDG_CACHE_HOME', '/xdg');
  expect(datasetCacheFolder('user/set')).toBe(join('/xdg/huggingface/lerobot/user/set'));
  vi.stubEnv('HF_HOME', '~/hf');
  expect(policyCacheFolder('user/act', 'refs/pr/1')).toBe(
    join(homedir(), 'hf/craft/policies/user/act@refs-pr-1'),
  );
  vi.stubEnv('HF_LEROBOT_HOME', '/data');
  expect(datasetCacheFolder('user/set')).toBe(join('/data/user/set'));
});
