import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makePolicy, type PolicyConfig, parsePolicyConfig, savePolicy } from '@craft-ft/policies';
import { manualSeed, noGrad } from '@craft-ft/torch';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encodePng } from '../../../datasets/src/writer/png.js';
import { PolicyProcessors, ProcessorPipeline } from '../../../policies/src/processors/pipeline.js';
import { craft } from '../../test/craft.js';

const folder = mkdtempSync(join(tmpdir(), 'eval-mcq-'));
afterAll(() => rmSync(folder, { recursive: true }));
const questions = join(folder, 'questions.jsonl');

const config = (fields: object = {}): PolicyConfig =>
  parsePolicyConfig(
    {
      type: 'pi0_fast',
      paligemma_variant: 'gemma_tiny',
      text_tokenizer_name: 'builtin:bytes',
      image_resolution: [28, 28],
      device: 'cpu',
      input_features: {
        'observation.state': { type: 'STATE', shape: [2] },
        'observation.images.top': { type: 'VISUAL', shape: [3, 28, 28] },
      },
      output_features: { action: { type: 'ACTION', shape: [2] } },
      ...fields,
    },
    'test',
  );

function saved(name: string, seed: number): string {
  const dir = join(folder, name);
  mkdirSync(dir);
  manualSeed(seed);
  const policy = makePolicy(config());
  noGrad(() => policy.namedParameters().forEach(([, one]) => void (one.ndim > 1 && one.mul_(6))));
  const none = (pipeline: string) => new ProcessorPipeline(pipeline, []);
  savePolicy(policy, new PolicyProcessors(none('policy_preprocessor'), none('policy_postprocessor')), dir);
  return dir;
}

let [first, second] = ['', ''];
beforeAll(async () => {
  first = saved('first', 1);
  second = saved('second', 2);
  const rgb = Uint8Array.from({ length: 20 * 10 * 3 }, (_, i) => i % 251);
  writeFileSync(join(folder, 'x.png'), await encodePng(rgb, 20, 10));
  const lines = Array.from({ length: 4 }, (_, i) => ({
    id: `q${i}`,
    ...(i % 2 === 0 ? { image_path: 'x.png' } : {}),
    question: `Which one is number ${i}?`,
    choices: ['one', 'another one', 'none of them'],
    answer_index: i % 3,
  }));
  writeFileSync(questions, lines.map((line) => JSON.stringify(line)).join('\n'));
});

test('a table, a file with every score, and a comparison', async () => {
  const output = join(folder, 'result.json');
  const flags = [`--policy.path=${first}`, `--baseline.path=${second}`, `--questions=${questions}`];
  const ran = await craft(['eval-mcq', ...flags, `--output=${output}`]);
  expect(ran).toMatchObject({ code: 0, err: '' });
  expect(ran.out).toMatch(/policy +per token +\d of 4 +\d+\.\d % +\d+\.\d % to \d+\.\d % +[-+]?\d/);
  expect(ran.out).toMatch(/per token: \d gained, \d lost \(p = /);
  expect(ran.out).toMatch(/q3 +(right|wrong)/);
  const result = JSON.parse(readFileSync(output, 'utf8'));
  expect(result.prompt).toBe('answer en {question}\n');
  expect(result.policy.questions).toHaveLength(4);
  for (const { scores } of result.policy.questions) {
    expect(scores).toHaveLength(3);
    for (const { sum, mean, tokens } of scores) expect(sum).toBeCloseTo(mean * tokens, 8);
  }
  expect(result.policy.questions[0].scores).not.toEqual(result.baseline.questions[0].scores);
  const same = await craft([
    'eval-mcq',
    `--policy.path=${first}`,
    `--baseline.path=${first}`,
    `--questions=${questions}`,
    '--json',
  ]);
  expect(JSON.parse(same.out).comparison.mean).toEqual({ gained: 0, lost: 0, pValue: 1, marginChange: 0 });
});

test('mistakes are one line', async () => {
  writeFileSync(join(folder, 'bad.jsonl'), '{"question": "a"}');
  const ask = (...more: string[]) => craft(['eval-mcq', `--policy.path=${first}`, ...more]);
  expect((await ask(`--questions=${folder}/bad.jsonl`)).err).toMatch(
    /^craft: error: .*bad\.jsonl:1: choices: /,
  );
  expect((await ask(`--questions=${questions}`, '--prompt=x')).err).toMatch(/prompt.*\{question\}/);
  writeFileSync(join(folder, 'x.jpg'), 'no image');
  const line = { question: 'a', choices: ['b', 'c'], answer_index: 0, image: 'x.jpg' };
  writeFileSync(join(folder, 'image.jsonl'), JSON.stringify(line));
  expect((await ask(`--questions=${folder}/image.jsonl`)).err).toMatch(/image\.jsonl:1.*x\.jpg.*not a PNG/);
});
