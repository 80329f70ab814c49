import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { manualSeed, noGrad, ones, type Tensor, tensor } from '@craft-ft/torch';
import { afterAll, describe, expect, it } from 'vitest';
import { thrown } from '../../../datasets/test/thrown.js';
import { CASES, GOLDEN_PI0_FAST, loadCase, tinyPolicy } from '../../test/pi0-fast-golden.js';
import { suffixLogProbs } from '../pi0_fast/language-model.js';
import type { Prefix } from '../pi0_fast/model.js';
import { TextTokenizer } from '../tokenizers/text-tokenizer.js';
import { readMcqQuestions } from './mcq-questions.js';
import { compareAnswers, judge, type McqAnswer, summarise, wilson } from './mcq-results.js';
import { scoreQuestion, tokenizeChoices } from './mcq-scorer.js';

const folder = mkdtempSync(join(tmpdir(), 'mcq-'));
afterAll(() => rmSync(folder, { recursive: true }));

const bytes = TextTokenizer.loadSync('builtin:bytes:260');

describe.skipIf(GOLDEN_PI0_FAST === null)('likelihoods', () => {
  for (const name of CASES) {
    it(`of action tokens are those of LeRobot's cross-entropy: ${name}`, () => {
      const { policy, batch, expected } = loadCase(name);
      const prefix = (policy as unknown as { prefix(batch: object): Prefix }).prefix(batch);
      const suffix = { ids: batch['action.tokens']!, mask: batch['action.token_mask']! };
      const found = suffixLogProbs(policy.model, prefix, suffix).tolist() as number[][];
      const { data, shape } = expected.get('out.ce_per_token')!;
      const mask = suffix.mask.tolist() as unknown[][];
      found.forEach((row, r) => {
        for (let i = 1; i < row.length; i++) {
          const reference = mask[r]![i] ? -data[r * shape[1]! + i - 1]! : 0;
          expect(row[i]).toBeCloseTo(reference, 4);
        }
      });
      // The first token, by hand: it comes from the last position of a prefix that knows nothing of the suffix.
      noGrad(() => {
        const { states } = policy.model.call(prefix, null);
        const last = policy.model.normalise(states.at(-1)!).select(1, -1);
        const logits = policy.model.logits(last).tolist() as number[][];
        const ids = suffix.ids.tolist() as (number | bigint)[][];
        const ends = prefix.language.mask.select(1, -1).tolist() as unknown[];
        logits.forEach((row, r) => {
          // Padding averages over everything, the suffix too; questions are not padded.
          if (!ends[r]) return;
          const total = Math.log(row.reduce((sum, value) => sum + Math.exp(value), 0));
          expect(found[r]![0]).toBeCloseTo(row[Number(ids[r]![0])]! - total, 4);
        });
      });
    });
  }
});

describe('scoreQuestion', () => {
  manualSeed(5);
  const policy = tinyPolicy(0, { input_features: {} });
  noGrad(() => policy.namedParameters().forEach(([, one]) => void (one.ndim > 1 && one.mul_(8))));
  const question = {
    file: 'test',
    line: 1,
    id: '1',
    images: [],
    question: 'What is it?',
    choices: ['a cup', ' an apple '],
    answer: 0,
  };

  it('sums ln p of a choice token by token, each seeing only those before it', async () => {
    const scores = await scoreQuestion(policy, bytes, question, '{question}\n');
    expect(scores.map(({ tokens }) => tokens)).toEqual([5, 8]);
    question.choices.forEach((choice, i) => {
      const prefix = bytes.encode('What is it?\n', { addBos: true });
      const ids = bytes.encode(choice.trim());
      const total = ids.reduce((sum, id, t) => sum + lnNext(prefix, ids.slice(0, t), id), 0);
      expect(scores[i]!.sum).toBeCloseTo(total, 4);
      expect(scores[i]!.mean).toBeCloseTo(total / ids.length, 4);
    });
    expect(policy.training).toBe(true);
  });

  it('gives a choice the same score whatever the others are', async () => {
    const [first] = await scoreQuestion(policy, bytes, question);
    const [again] = await scoreQuestion(policy, bytes, {
      ...question,
      choices: ['a cup', 'x', 'a much longer choice'],
    });
    expect(again!.sum).toBeCloseTo(first!.sum, 4);
  });

  // One token at a time, without teacher forcing over a batch.
  function lnNext(prefix: number[], before: number[], id: number): number {
    return noGrad(() => {
      const row = (ids: number[]) => tensor(BigInt64Array.from(ids, BigInt), { shape: [1, ids.length] });
      const valid = (ids: number[]): Tensor => ones([1, ids.length], { dtype: 'bool' });
      const language = { ids: row(prefix), mask: valid(prefix) };
      const actions = before.length === 0 ? null : { ids: row(before), mask: valid(before) };
      const { states } = policy.model.call({ images: null, language }, actions);
      const logits = policy.model.logits(policy.model.normalise(states.at(-1)!.select(1, -1)));
      return (logits.logSoftmax(-1).tolist() as number[][])[0]![id]!;
    });
  }
});

it('choices are tokenised with the question; what all begin with is the prefix', () => {
  // Pairs of letters are one token, so that a seam can be inside one.
  const pairs = {
    encode: (text: string) =>
      (`^${text}`.match(/.{1,2}/gs) ?? []).map(
        (pair) => pair.length * 1000 + pair.codePointAt(0)! + 7 * (pair.codePointAt(1) ?? 0),
      ),
  };
  const { prefix, choices } = tokenizeChoices(pairs as unknown as TextTokenizer, 'ab', ['c', 'd']);
  expect(prefix).toHaveLength(1);
  expect(choices.map(({ length }) => length)).toEqual([1, 1]);
  expect(choices[0]).not.toEqual(choices[1]);
});

describe('results', () => {
  const one = (line: number, answer: number, ...sums: number[]): McqAnswer =>
    judge(
      { file: 'test', line, id: String(line), images: [], question: '', choices: [], answer },
      sums.map((sum, i) => ({ sum, mean: sum / (i + 1), tokens: i + 1 })),
    );

  it('have margins by both rules; a tie is no answer', () => {
    const answer = one(1, 0, -2, -3);
    expect(answer).toMatchObject({ predicted: { sum: 0, mean: 1 }, margin: { sum: 1, mean: -0.5 } });
    expect(summarise([answer, one(2, 1, -1, -1), one(3, 1, -4, -2)])).toMatchObject({
      accuracy: { sum: { correct: 2, of: 3 }, mean: { correct: 2 } },
    });
    expect(one(4, 0, -1, -1).margin.sum).toBe(0);
  });

  it('have intervals that hold near 0 and 1', () => {
    expect(wilson(5, 10).low).toBeCloseTo(0.2366, 4);
    expect(wilson(5, 10).high).toBeCloseTo(0.7634, 4);
    expect(wilson(0, 20)).toMatchObject({ low: 0, share: 0 });
    expect(wilson(0, 20).high).toBeCloseTo(0.1611, 4);
    expect(wilson(20, 20).high).toBe(1);
  });

  it('are compared question by question', () => {
    const right = Array.from({ length: 6 }, (_, i) => one(i, 0, -1, -9));
    const wrong = Array.from({ length: 6 }, (_, i) => one(i, 1, -1, -9));
    const { sum } = compareAnswers(right, wrong);
    expect(sum).toMatchObject({ gained: 6, lost: 0, marginChange: 16 });
    expect(sum.pValue).toBeCloseTo(2 / 64, 10);
    expect(compareAnswers(right, right).sum).toMatchObject({ gained: 0, lost: 0, pValue: 1 });
  });
});

describe('questions', () => {
  const file = join(folder, 'questions.jsonl');
  const good = { question: 'Q?', choices: ['a', 'b'], answer_index: 1 };
  const read = (...lines: (object | string)[]) => {
    writeFileSync(
      file,
      lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'),
    );
    return readMcqQuestions(file);
  };

  it('keep their line, name and images', () => {
    writeFileSync(join(folder, 'x.png'), '');
    expect(read(good, '', { ...good, id: 'q7', image_path: 'x.png', note: 1 })).toEqual([
      { file, line: 1, id: '1', images: [], question: 'Q?', choices: ['a', 'b'], answer: 1 },
      {
        file,
        line: 3,
        id: 'q7',
        images: [join(folder, 'x.png')],
        question: 'Q?',
        choices: ['a', 'b'],
        answer: 1,
      },
    ]);
  });

  it.each([
    [[], 'holds no questions'],
    [[good, '{'], ':2: not valid JSON'],
    [[good, '', '[]'], ':3: '],
    [[{ ...good, question: undefined }], ':1: question: '],
    [[{ ...good, question: ' ' }], ':1: question: expected text'],
    [[{ ...good, choices: ['a'] }], ':1: choices: expected at least two choices'],
    [[{ ...good, choices: ['a', 'a '] }], ':1: choices: two choices are the same'],
    [[{ ...good, answer_index: 2 }], ':1: answer_index: expected the index of a choice'],
    [[{ ...good, answer_index: '1' }], ':1: answer_index: '],
    [[{ ...good, image: 'gone.png' }], ':1: no such image: '],
    [[{ ...good, image: 'x.png', images: ['x.png'] }], ':1: images: expected one of'],
  ])('%j is refused', (lines, message) => {
    const error = thrown(() => read(...lines));
    expect(error.code).toBe('MCQ_QUESTIONS');
    expect(error.message).toContain(message);
    expect(error.message.startsWith(file)).toBe(true);
  });
});
