import type { McqAnswer, McqComparison, McqQuestion, McqRule, McqSummary, Share } from '@craft-ft/policies';
import { readPolicyConfig } from '@craft-ft/policies/config';
import { atomicWriteFile } from '@craft-ft/torch';
import { CraftError } from '@craft-ft/torch/errors';
import { z } from 'zod';
import type { Output } from '../command.js';
import { commandOf } from '../command-of.js';

const path = z.string().min(1);

const evalMcqSchema = z.strictObject({
  policy: z.strictObject({
    path: path.describe('pi0_fast policy to ask: a run, a checkpoint, a model folder or user/name.'),
    device: path.nullable().default(null).describe("cpu, cuda, ... null: the policy's own."),
  }),
  baseline: z
    .strictObject({
      path: path
        .nullable()
        .default(null)
        .describe('Policy to compare with, such as the one before fine-tuning.'),
    })
    .prefault({}),
  questions: path.describe(
    'JSON lines with question, choices, answer_index (from 0) and image_path, image or images (optional).',
  ),
  image_root: path.nullable().default(null).describe("Folder of the images. null: the questions' file's."),
  prompt: z
    .string()
    .regex(/\{question\}/)
    .default('answer en {question}\\n')
    .meta({
      description:
        "What the model reads before the choice; \\n is a new line. The default is PaliGemma's own form.",
      typeText: 'text with {question} in it',
    }),
  output: path.nullable().default(null).describe('JSON file for every score. null: none.'),
  json: z.boolean().default(false).describe('The same JSON on standard output instead of tables.'),
});

interface Judged extends McqSummary {
  path: string;
  questions: McqAnswer[];
}

/**
 * `craft eval-mcq`: asks the language model inside a policy multiple-choice questions and compares the likelihoods of the choices. Run
 * before and after fine-tuning, it shows what the backbone forgot.
 */
export const evalMcqCommand = commandOf({
  name: 'eval-mcq',
  about: 'Multiple-choice questions, scored by the likelihood of each choice.',
  schema: evalMcqSchema,
  run: async (config, output) => {
    const { policy, baseline, questions: file, image_root: root, output: target, json } = config;
    const { compareAnswers, readMcqQuestions } = await import('@craft-ft/policies');
    const questions = readMcqQuestions(file, root ?? undefined);
    const prompt = config.prompt.replaceAll('\\n', '\n');
    const ask = (one: string) => judgePolicy(one, policy.device, questions, prompt, output);
    const own = await ask(policy.path);
    const other = baseline.path === null ? null : await ask(baseline.path);
    const comparison = other === null ? null : compareAnswers(own.questions, other.questions);
    const result = { questions: file, prompt, policy: own, baseline: other, comparison };
    const text = JSON.stringify(result, null, 2);
    if (target !== null) atomicWriteFile(target, `${text}\n`);
    output.out(json ? `${JSON.stringify(result)}\n` : tables(questions, own, other, comparison));
    if (target !== null && !json) output.out(`scores: ${target}\n`);
    return 0;
  },
});

async function judgePolicy(
  given: string,
  device: string | null,
  questions: readonly McqQuestion[],
  prompt: string,
  output: Output,
): Promise<Judged> {
  const policies = await import('@craft-ft/policies');
  const { dir, config } = readPolicyConfig(given);
  const { languageModel } = policies.registrationOf(config);
  if (languageModel === undefined) {
    const others = policies.POLICY_TYPES.filter(policies.hasLanguageModel).join(', ');
    throw new CraftError(
      'MCQ_POLICY',
      `${dir}: is a ${config.type} policy; only ${others} has a language model`,
    );
  }
  const where = policies.resolveDevice(device ?? config.device);
  const policy = policies.loadPolicy(dir, config).to({ device: where });
  const tokenizer = await policies.TextTokenizer.load(languageModel(policy).tokenizerName);
  const answers: McqAnswer[] = [];
  for (const question of questions) {
    const scores = await policies.scoreQuestion(policy, tokenizer, question, prompt);
    answers.push(policies.judge(question, scores));
    if (answers.length % 50 === 0) output.err(`${answers.length} of ${questions.length} questions\n`);
  }
  policy.dispose();
  return { path: dir, ...policies.summarise(answers), questions: answers };
}

const RULE_NAMES: Record<McqRule, string> = { mean: 'per token', sum: 'whole choice' };
const percent = (value: number) => `${(100 * value).toFixed(1)} %`;
const signed = (value: number) => (value > 0 ? '+' : '') + value.toFixed(3);

function tables(
  questions: readonly McqQuestion[],
  own: Judged,
  other: Judged | null,
  comparison: Record<McqRule, McqComparison> | null,
): string {
  const rules = Object.keys(RULE_NAMES) as McqRule[];
  const summary = (name: string, judged: Judged) =>
    rules.map((rule) => [
      name,
      RULE_NAMES[rule],
      ...share(judged.accuracy[rule]),
      signed(judged.averageMargin[rule]),
    ]);
  const head = ['', 'likelihood', 'correct', 'accuracy', '95 % interval', 'margin (nats)'];
  const rows = [...summary('policy', own), ...(other === null ? [] : summary('baseline', other))];
  const lines = questions.map(({ id, question }, i) => {
    const verdict = (judged: Judged) => {
      const { margin } = judged.questions[i]!;
      return [margin.mean > 0 ? 'right' : 'wrong', signed(margin.mean)];
    };
    const short = question.length > 40 ? `${question.slice(0, 39)}…` : question;
    return [id, ...verdict(own), ...(other === null ? [] : verdict(other)), short];
  });
  const header = ['id', 'policy', 'margin', ...(other === null ? [] : ['baseline', 'margin']), 'question'];
  const changes = rules.map((rule) => {
    if (comparison === null) return '';
    const { gained, lost, pValue, marginChange } = comparison[rule];
    const words = `${gained} gained, ${lost} lost (p = ${pValue.toPrecision(2)}), margin ${signed(marginChange)}`;
    return `${RULE_NAMES[rule]}: ${words} against the baseline\n`;
  });
  return `${align([head, ...rows])}\n${changes.join('')}\n${align([header, ...lines])}`;
}

const share = ({ correct, of, share: value, low, high }: Share) => [
  `${correct} of ${of}`,
  percent(value),
  `${percent(low)} to ${percent(high)}`,
];

function align(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i]!))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}
