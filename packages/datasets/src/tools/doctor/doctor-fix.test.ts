import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { editJson, makeDataset, makeV21Dataset } from '../../../test/datasets.js';
import { examineDataset, fixDataset } from './doctor.js';

describe('fixDataset', () => {
  it.each([
    ['v3.0', 'meta/stats.json', makeDataset],
    ['v2.1', 'meta/episodes_stats.jsonl', makeV21Dataset],
  ])('%s: totals and statistics, originals kept', async (_, statsFile, make) => {
    const root = make([4, 6]);
    const info = readFileSync(join(root, 'meta/info.json'), 'utf8');
    const healthy = readFileSync(join(root, statsFile), 'utf8');
    editJson(join(root, 'meta/info.json'), (info) => {
      info.total_frames = 1;
    });
    writeFileSync(
      join(root, statsFile),
      healthy.replace(/"mean": ?\[\s*-?[\d.]+/, (text) => text.replace(/-?[\d.]+$/, 'NaN')),
    );
    const before = await examineDataset(root);
    expect(before.findings.map((f) => f.code)).toEqual(
      expect.arrayContaining(['TOTALS', 'STATS_NOT_FINITE']),
    );
    const fixed = await fixDataset(before);
    expect(fixed.failed).toEqual([]);
    const after = await examineDataset(root);
    expect(after.findings.filter((f) => f.fixable)).toEqual([]);
    expect(JSON.parse(readFileSync(join(root, 'meta/info.json'), 'utf8'))).toEqual(JSON.parse(info));
    expect(
      readdirSync(join(root, 'meta'))
        .filter((name) => name.endsWith('.bak'))
        .sort(),
    ).toEqual([`${statsFile.slice(5)}.bak`, 'info.json.bak'].sort());
    if (statsFile.endsWith('.json')) {
      expect(JSON.parse(readFileSync(join(root, statsFile), 'utf8'))).toEqual(JSON.parse(healthy));
    }
  });

  it('says why statistics cannot be computed', async () => {
    const root = makeV21Dataset([3, 2], [0]);
    rmSync(join(root, 'meta/episodes_stats.jsonl'));
    const { done, failed } = await fixDataset(await examineDataset(root));
    expect(done).toEqual([]);
    expect(failed).toEqual([
      expect.stringMatching(/statistics.*episode_000001\.parquet: the file is missing/),
    ]);
    expect(existsSync(join(root, 'meta/episodes_stats.jsonl'))).toBe(false);
  });
});
