import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  beginStory,
  removeUnlessFitted,
  removeUnlessRecorded,
  removeUnlessSaved,
  type Story,
} from './progress.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'progress-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

test('a demo begins in a new folder, and only what began so is gone on with', () => {
  const story: Story = { policy: 'act-vision', seed: 1, seeds: 2, settings: 'a' };
  const own = join(folder, 'outputs', 'new');
  const error = (code: string, message: unknown) => expect.objectContaining({ code, message });
  const file = join(own, 'demo.json');
  expect(() => beginStory(own, story, true)).toThrow(
    error(
      'DEMO_RESUME',
      `${file}: no such file: there is no demo to go on with; leave out --resume to begin one`,
    ),
  );
  beginStory(own, story, false);
  beginStory(own, story, true);
  expect(() => beginStory(own, { ...story, policy: 'act-state' }, true)).toThrow(
    error(
      'DEMO_RESUME',
      `${file}: policy is act-vision there, not act-state; give craft demo with --policy=act-vision`,
    ),
  );
  expect(() => beginStory(own, { ...story, settings: 'b' }, true)).toThrow(
    error(
      'DEMO_RESUME',
      `${file}: begun by a version of this program with other settings; choose another --output_dir`,
    ),
  );
  expect(() => beginStory(file, story, false)).toThrow(
    error('OUTPUT_EXISTS', `${file} is a file: choose another --output_dir`),
  );
  expect(() => beginStory(join(file, 'below'), story, false)).toThrow(
    error(
      'WRITE_FAILED',
      expect.stringMatching(/demo\.json\/below: the folder cannot be made: .*; choose another one$/),
    ),
  );
  writeFileSync(file, '{');
  expect(() => beginStory(own, story, true)).toThrow(expect.objectContaining({ code: 'CONFIG_UNREADABLE' }));
});

test('what is whole stays, what is not is removed', () => {
  const data = join(folder, 'data');
  write(join(data, 'meta', 'info.json'), '{"total_episodes": 3}');
  expect([removeUnlessRecorded(data, 3), removeUnlessRecorded(data, 4), existsSync(data)]).toEqual([
    true,
    false,
    false,
  ]);

  const tokenizer = join(folder, 'tokenizer');
  write(join(tokenizer, 'tokenizer.json'), '{}');
  expect(removeUnlessFitted(tokenizer)).toBe(true);
  rmSync(join(tokenizer, 'tokenizer.json'));
  expect([removeUnlessFitted(tokenizer), existsSync(tokenizer)]).toEqual([false, false]);

  const run = join(folder, 'run');
  write(join(run, 'checkpoints', '000007', 'training_state', 'training_step.json'), '{"step": 7}');
  symlinkSync('000007', join(run, 'checkpoints', 'last'));
  expect(removeUnlessSaved(run)).toBe(7);
  rmSync(join(run, 'checkpoints'), { recursive: true });
  write(join(run, 'metrics.jsonl'), '');
  expect([removeUnlessSaved(run), existsSync(run)]).toEqual([null, false]);
});
