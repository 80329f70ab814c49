import { readFileSync } from 'node:fs';
import { decodeImage } from '@craft-ft/datasets';
import { CraftError, noGrad, ones, scope, stack, type Tensor, tensor, zeros } from '@craft-ft/torch';
import { resizeWithPad, toFloat } from '../images/image.js';
import type { Pi0FastModel, Prefix, Tokens } from '../pi0_fast/model.js';
import type { Pi0FastPolicy } from '../pi0_fast/policy.js';
import { inEvaluationMode } from '../policy.js';
import type { TextTokenizer } from '../tokenizers/text-tokenizer.js';
import type { McqQuestion } from './mcq-questions.js';

/** How likely one choice is. */
export interface ChoiceScore {
  /** ln p(choice | images, question): summed over its tokens. */
  sum: number;
  /** The same per token, so that long choices are not at a disadvantage. */
  mean: number;
  tokens: number;
}

/** PaliGemma's own form of a question. */
export const MCQ_PROMPT = 'answer en {question}\n';

/**
 * ln p of every token of a suffix, given the prefix and the tokens before it. The prefix (images, language) attends to itself in both
 * directions and never to the suffix, the suffix is causal: what PaliGemma was trained with.
 *
 * @param suffix `[N, T]`; padding at the end
 * @returns float32 `[N, T]`, 0 at padding
 */
export function suffixLogProbs(model: Pi0FastModel, prefix: Prefix, suffix: Tokens): Tensor {
  return noGrad(() =>
    scope(() => {
      const encoded = model.call(prefix, suffix);
      const count = suffix.ids.size(1);
      // A position predicts its successor: the first token of the suffix comes from the last position of the prefix.
      const before = encoded.states.at(-1)!.narrow(1, encoded.prefixLength - 1, count);
      const logProbs = model.logits(model.normalise(before)).logSoftmax(-1);
      const chosen = logProbs.gather(-1, suffix.ids.unsqueeze(-1)).squeeze(-1);
      return chosen.mul(suffix.mask.to('float32'));
    }),
  );
}

/**
 * Token ids of the question and of every choice behind it. Each choice is tokenised together with the question, since tokens may span
 * the seam; what all of them begin with is the prefix.
 *
 * @throws CraftError `MCQ_TOKENS` where a choice has no tokens of its own
 */
export function tokenizeChoices(
  tokenizer: TextTokenizer,
  prompt: string,
  choices: readonly string[],
): { prefix: number[]; choices: number[][] } {
  const ids = (text: string) => tokenizer.encode(text, { addBos: true });
  const question = ids(prompt);
  const whole = choices.map((choice) => ids(prompt + choice.trim()));
  const differs = question.findIndex((id, i) => whole.some((one) => one[i] !== id));
  const length = differs < 0 ? question.length : differs;
  const own = whole.map((one) => one.slice(length));
  const empty = own.findIndex((one) => one.length === 0);
  if (empty >= 0)
    throw new CraftError('MCQ_TOKENS', `the choice ${JSON.stringify(choices[empty])} has no tokens`);
  return { prefix: question.slice(0, length), choices: own };
}

/**
 * Scores every choice of a question by its likelihood under a policy's language model, in evaluation mode.
 *
 * Images are resized with padding to the policy's resolution and mapped to [-1, 1], as in training.
 *
 * @param prompt text with `{question}` in it, see {@link MCQ_PROMPT}
 * @throws CraftError `IMAGE_INVALID`, `MCQ_TOKENS`, naming the line
 */
export async function scoreQuestion(
  policy: Pi0FastPolicy,
  tokenizer: TextTokenizer,
  question: McqQuestion,
  prompt: string = MCQ_PROMPT,
): Promise<ChoiceScore[]> {
  const images: Tensor[] = [];
  try {
    for (const path of question.images) images.push(await loadImage(path, policy, question));
    const asked = prompt.replaceAll('{question}', () => question.question.trim());
    const { prefix, choices } = tokenizeChoices(tokenizer, asked, question.choices);
    return inEvaluationMode(policy, () => noGrad(() => scope(() => score(policy, images, prefix, choices))));
  } finally {
    for (const image of images) image.dispose();
  }
}

async function loadImage(path: string, policy: Pi0FastPolicy, { file, line }: McqQuestion): Promise<Tensor> {
  const { rgb, width, height } = await decodeImage(readFileSync(path), `${file}:${line}: ${path}`);
  return scope(() =>
    resizeWithPad(toFloat(tensor(rgb, { shape: [height, width, 3] }), 'hwc'), policy.config.image_resolution)
      .mul(2)
      .sub(1),
  ).keep();
}

function score(
  { model }: Pi0FastPolicy,
  images: readonly Tensor[],
  prefix: readonly number[],
  choices: readonly number[][],
): ChoiceScore[] {
  const { device } = model.paligemma.lmHead.weight;
  const rows = choices.length;
  const language = tensor(BigInt64Array.from(prefix, BigInt), { shape: [1, prefix.length] }).to(device);
  const longest = Math.max(...choices.map(({ length }) => length));
  const ids = new BigInt64Array(rows * longest);
  const mask = new Uint8Array(rows * longest);
  choices.forEach((choice, row) => {
    ids.set(choice.map(BigInt), row * longest);
    mask.fill(1, row * longest, row * longest + choice.length);
  });
  const shape = [rows, longest];
  const logProbs = suffixLogProbs(
    model,
    {
      images: images.length === 0 ? null : seen(model, images, rows, device),
      language: {
        ids: language.expand([rows, prefix.length]),
        mask: ones([rows, prefix.length], { dtype: 'bool', device }),
      },
    },
    {
      ids: tensor(ids, { shape }).to(device),
      mask: tensor(mask, { shape, dtype: 'bool' }).to(device),
    },
  );
  const sums = logProbs.sum([1]).tolist() as number[];
  return choices.map(({ length: tokens }, row) => ({ sum: sums[row]!, mean: sums[row]! / tokens, tokens }));
}

// Once for all choices.
function seen(
  model: Pi0FastModel,
  images: readonly Tensor[],
  rows: number,
  device: string,
): Prefix['images'] {
  const features = model.imageFeatures(
    stack([...images], 0)
      .to(device)
      .unsqueeze(0),
  );
  const mask = zeros([rows, images.length], { dtype: 'bool', device }).logicalNot();
  return { features: features.expand([rows, ...features.shape.slice(1)]), mask };
}
