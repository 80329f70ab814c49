import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { testFolder } from '../../../training/test/training.js';
import { craft } from '../../test/craft.js';
import { sourceFolder } from './dataset-fields.js';

const home = testFolder();
beforeEach(() => void vi.stubEnv('HF_LEROBOT_HOME', home));
afterEach(() => vi.unstubAllEnvs());

it('a name is looked up, and where it is not here the error says that nothing is downloaded', async () => {
  const folder = join(home, 'me', 'arm');
  expect(await craft(['dataset', 'info', '--repo_id=me/arm'])).toEqual({
    code: 1,
    out: '',
    err:
      `craft: error: ${folder}: there is no such folder, and craft dataset downloads nothing; name one with --root, or bring it ` +
      'first with a command that does: craft train or craft eval-loss with --dataset.repo_id=me/arm\n',
  });
  mkdirSync(folder, { recursive: true });
  expect(await sourceFolder({ root: null, repo_id: 'me/arm' })).toBe(folder);
});
