import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ones } from '@craft-ft/torch';
import { expect, test } from 'vitest';
import { thrown } from '../../../datasets/test/thrown.js';
import { newFolder, smallFast } from '../../test/tokenizers.js';
import { fetchPolicyTokenizers, parsePolicyConfig } from '../registry.js';
import { Bpe } from './fast/bpe.js';
import { FastTokenizer } from './fast/tokenizer.js';
import { TokenizeActionsStep } from './processors.js';

const { folder: fast } = smallFast(4, 2);

const attempt = (fields: object) =>
  fetchPolicyTokenizers(
    parsePolicyConfig(
      {
        type: 'pi0_fast',
        paligemma_variant: 'gemma_tiny',
        text_tokenizer_name: 'builtin:bytes',
        action_tokenizer_name: fast,
        ...fields,
      },
      'test',
    ),
  );

test.each([
  [{ action_tokenizer_name: 'builtin:bytes' }, /policy\.action_tokenizer_name: .* is a text tokenizer/],
  [{ action_tokenizer_name: './gone' }, /policy\.action_tokenizer_name: .*\.\/gone/],
  [{ text_tokenizer_name: './gone' }, /policy\.text_tokenizer_name: .*\.\/gone/],
  [{ text_tokenizer_name: fast }, /policy\.text_tokenizer_name: .* has no BOS token/],
  [{ text_tokenizer_name: 'builtin:bytes:400' }, /no room for \d+ FAST codes/],
  [{ text_tokenizer_name: 'builtin:bytes:9000' }, /has 9000 ids, gemma_tiny embeds 4096/],
])('%o is refused before a policy is made', async (fields, message) => {
  await expect(attempt(fields)).rejects.toThrow(message);
});

test('tokenisers that fit together pass', async () => {
  await attempt({});
});

test('a vocabulary that leaves ids out needs room up to its largest id', () => {
  const vocabulary = new Map([
    ['a', 0],
    ['b', 9],
  ]);
  expect(new Bpe(vocabulary, [], 'plain').size).toBe(10);
});

test('a FAST tokeniser whose merges do not fit its vocabulary is refused', () => {
  const folder = newFolder();
  cpSync(fast, folder, { recursive: true });
  const path = join(folder, 'tokenizer.json');
  const json = JSON.parse(readFileSync(path, 'utf8'));
  json.model.merges.unshift(['a', 'nothing']);
  writeFileSync(path, JSON.stringify(json));
  expect(thrown(() => FastTokenizer.loadSync(folder))).toMatchObject({
    code: 'TOKENIZER_INVALID',
    message: expect.stringContaining('model.merges.0: ["a","nothing"] is not in model.vocab'),
  });
});

test('coefficients that a tokeniser cannot write are told', () => {
  const folder = newFolder();
  new FastTokenizer(new Bpe(new Map([['a', 0]]), [], 'plain'), {
    scale: 10,
    vocabSize: 1,
    minToken: 0,
    maxToken: null,
    timeHorizon: null,
    actionDim: null,
  }).save(folder);
  const warnings: string[] = [];
  const step = (actionTokenizerName: string) =>
    new TokenizeActionsStep({
      actionTokenizerName,
      textTokenizerName: 'builtin:bytes',
      onWarning: (line) => warnings.push(line),
    });
  const batch = { action: ones([2, 4, 2]) };
  step(folder).process(batch);
  expect(warnings).toEqual([expect.stringContaining("no codes for 8 of a chunk's 8 coefficients")]);
  step(fast).process(batch);
  expect(warnings).toHaveLength(1);
});
