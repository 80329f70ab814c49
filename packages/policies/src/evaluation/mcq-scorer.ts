import { readFileSync } from 'node:fs';
import { decodeImage } from '@craft-ft/datasets';
import { CraftError, scope, type Tensor, tensor } from '@craft-ft/torch';
import { resizeWithPad, toFloat } from '../images/image.js';
import { inEvaluationMode, type LanguageModel, type Policy } from '../policy.js';
import { registrationOf } from '../registry.js';
import type { TextTokenizer } from '../tokenizers/text-tokenizer.js';
import type { McqQuestion } from './mcq-questions.js';

/** The likelihood of one choice. */
export interface ChoiceScore {
  /** ln p(choice | images, question): summed over its tokens. */
  sum: number;
  /** `sum` divided by the number of tokens, so that long choices are not at a disadvantage. */
  mean: number;
  tokens: number;
}

/** PaliGemma's own prompt for a question. */
export const MCQ_PROMPT = 'answer en {question}\n';

/**
 * Token ids of the question and of every choice after it. Each choice is tokenised together with the question, since a token may
 * span the boundary; the prefix is what all of these sequences have in common at the start.
 *
 * @throws CraftError `MCQ_TOKENS` if a choice has no tokens of its own
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
 * @throws CraftError `MCQ_POLICY` if the policy has no language model; `IMAGE_INVALID`, `MCQ_TOKENS`, naming the line
 */
export async function scoreQuestion(
  policy: Policy,
  tokenizer: TextTokenizer,
  question: McqQuestion,
  prompt: string = MCQ_PROMPT,
): Promise<ChoiceScore[]> {
  const model = registrationOf(policy.config).languageModel?.(policy);
  if (model === undefined)
    throw new CraftError('MCQ_POLICY', `policy.type=${policy.config.type} has no language model`);
  const images: Tensor[] = [];
  try {
    for (const path of question.images) images.push(await loadImage(path, model, question));
    const asked = prompt.replaceAll('{question}', () => question.question.trim());
    const { prefix, choices } = tokenizeChoices(tokenizer, asked, question.choices);
    const sums = inEvaluationMode(policy, () => model.suffixLogProbs(images, prefix, choices));
    return choices.map(({ length: tokens }, row) => ({ sum: sums[row]!, mean: sums[row]! / tokens, tokens }));
  } finally {
    for (const image of images) image.dispose();
  }
}

async function loadImage(path: string, model: LanguageModel, { file, line }: McqQuestion): Promise<Tensor> {
  const { rgb, width, height } = await decodeImage(readFileSync(path), `${file}:${line}: ${path}`);
  return scope(() =>
    resizeWithPad(toFloat(tensor(rgb, { shape: [height, width, 3] }), 'hwc'), model.imageSize)
      .mul(2)
      .sub(1),
  ).keep();
}
