import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LeRobotDataset, subsetIndex } from '@craft-ft/datasets';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { INSTRUCTIONS } from './names.js';
import { recordDataset } from './record-dataset.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'record-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const options = {
  tasks: ['press-button', 'lift'],
  episodes: 2,
  repoId: 'me/test',
  cameras: ['top'],
  imageSize: [32, 32] as const,
};

describe('recordDataset', () => {
  it('writes the same dataset on any number of threads', async () => {
    const seen: number[] = [];
    const onProgress = ({ episodes }: { episodes: number }) => void seen.push(episodes);
    const results = [];
    for (const workers of [0, 2]) {
      const root = join(folder, String(workers));
      const result = await recordDataset({ ...options, root, workers, video: workers === 0, onProgress });
      const dataset = await LeRobotDataset.open({ root });
      const batch = dataset.batch(Array.from({ length: result.frames }, (_, i) => subsetIndex(i)));
      expect(dataset.metadata.fps).toBe(25);
      expect([...dataset.metadata.tasks.values()]).toEqual([INSTRUCTIONS['press-button'], INSTRUCTIONS.lift]);
      const { root: _, ...rest } = result;
      results.push([rest, batch.columns.action, batch.columns['observation.environment_state']]);
    }
    expect(seen).toEqual([1, 2, 3, 4, 1, 2, 3, 4]);
    expect(results[1]).toEqual(results[0]);
  });

  it('leaves nothing behind when it cannot begin', async () => {
    const root = join(folder, 'new');
    await expect(recordDataset({ ...options, tasks: ['lift', 'juggle'], root })).rejects.toMatchObject({
      code: 'ENV_TASK',
    });
    // No expert succeeds with that much noise.
    await expect(
      recordDataset({ ...options, tasks: ['stack'], cameras: [], root, noise: 60, workers: 0 }),
    ).rejects.toMatchObject({ code: 'EXPERT_FAILED' });
    // Too small for the AV1 encoder.
    await expect(recordDataset({ ...options, root, imageSize: [16, 16] })).rejects.toMatchObject({
      code: 'VIDEO_ENCODER',
    });
    expect(existsSync(root)).toBe(false);
  });

  it('says what is wrong when what it left cannot be removed either', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    const one = { ...options, tasks: ['press-button'], episodes: 1, cameras: [], workers: 0 };
    await expect(recordDataset({ ...one, root: join(file, 'below') })).rejects.toMatchObject({
      code: 'WRITE_FAILED',
      message: expect.stringContaining(join(file, 'below')),
    });
  });

  it.each([
    [{ tasks: [] }, 'RECORD_OPTIONS', /^tasks is empty/],
    [{ episodes: 0 }, 'RECORD_OPTIONS', /^episodes is 0;/],
    [{ seed: -1 }, 'RECORD_OPTIONS', /^seed is -1,/],
    [{ seed: Number.NaN }, 'RECORD_OPTIONS', /^seed is NaN,/],
    [{ seed: 2 ** 32 - 100_001 }, 'RECORD_OPTIONS', /that of the last episode 4294967296;/],
    [
      { root: null, repoId: '../../escape' },
      'HUB_REPO_ID',
      /^repoId is "..\/..\/escape"; expected user\/name/,
    ],
  ])('refuses %j', async (wrong, code, message) => {
    const root = join(folder, 'new');
    await expect(recordDataset({ ...options, root, ...wrong })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
    expect(existsSync(root)).toBe(false);
  });
});
