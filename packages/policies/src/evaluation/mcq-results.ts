import type { McqQuestion } from './mcq-questions.js';
import type { ChoiceScore } from './mcq-scorer.js';
import { wilsonInterval } from './wilson.js';

/** How choices are compared: by mean log-likelihood per token, or by the sum. */
const MCQ_RULES = ['mean', 'sum'] as const;
export type McqRule = (typeof MCQ_RULES)[number];

/** A share of questions with its 95 % interval (Wilson, 1927), which also holds near 0 and 1. */
export interface Share {
  correct: number;
  of: number;
  share: number;
  low: number;
  high: number;
}

/** A policy's answer to one question. */
export interface McqAnswer {
  line: number;
  id: string;
  answer: number;
  scores: readonly ChoiceScore[];
  /** The most likely choice, by each rule. */
  predicted: Record<McqRule, number>;
  /** Score of the right choice minus that of the best wrong one, in nats (per token for `mean`). Positive if the answer is right. */
  margin: Record<McqRule, number>;
}

/** Summary of a policy's answers. */
export interface McqSummary {
  accuracy: Record<McqRule, Share>;
  averageMargin: Record<McqRule, number>;
}

/** Comparison of one policy with another on the same questions. */
export interface McqComparison {
  /** Questions that only this policy gets right, and those that only the other one does. */
  gained: number;
  lost: number;
  /** Probability of a difference at least this large between equally good policies: exact two-sided sign test (McNemar). */
  pValue: number;
  /** Mean change of the margin, nats. */
  marginChange: number;
}

/** @param correct number of right answers among `of` questions; `of` ≥ 1 */
export function wilson(correct: number, of: number): Share {
  const [low, high] = wilsonInterval(correct, of);
  return { correct, of, share: correct / of, low, high };
}

const byRule = <T>(value: (rule: McqRule) => T): Record<McqRule, T> => ({
  mean: value('mean'),
  sum: value('sum'),
});

/** A tie between the right choice and a wrong one does not count as right: its margin is 0. */
export function judge({ line, id, answer }: McqQuestion, scores: readonly ChoiceScore[]): McqAnswer {
  const best = (rule: McqRule, skip: number) =>
    scores.reduce(
      (top, score, i) => (i !== skip && (top < 0 || score[rule] > scores[top]![rule]) ? i : top),
      -1,
    );
  return {
    line,
    id,
    answer,
    scores,
    predicted: byRule((rule) => best(rule, -1)),
    margin: byRule((rule) => scores[answer]![rule] - scores[best(rule, answer)]![rule]),
  };
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

export function summarise(answers: readonly McqAnswer[]): McqSummary {
  return {
    accuracy: byRule((rule) =>
      wilson(answers.filter(({ margin }) => margin[rule] > 0).length, answers.length),
    ),
    averageMargin: byRule((rule) => mean(answers.map(({ margin }) => margin[rule]))),
  };
}

/** @param answers and `others` are for the same questions, in the same order */
export function compareAnswers(
  answers: readonly McqAnswer[],
  others: readonly McqAnswer[],
): Record<McqRule, McqComparison> {
  return byRule((rule) => {
    const right = (one: McqAnswer) => one.margin[rule] > 0;
    const gained = answers.filter((one, i) => right(one) && !right(others[i]!)).length;
    const lost = answers.filter((one, i) => !right(one) && right(others[i]!)).length;
    const marginChange = mean(answers.map(({ margin }, i) => margin[rule] - others[i]!.margin[rule]));
    return { gained, lost, pValue: signTest(gained, lost), marginChange };
  });
}

/** Two-sided p-value of `a` heads and `b` tails for a fair coin. */
function signTest(a: number, b: number): number {
  const n = a + b;
  // In log space: 2^-n underflows beyond about a thousand questions.
  let term = -n * Math.LN2;
  let tail = 0;
  for (let k = 0; k <= Math.min(a, b); k++) {
    tail += Math.exp(term);
    term += Math.log((n - k) / (k + 1));
  }
  return Math.min(1, 2 * tail);
}
