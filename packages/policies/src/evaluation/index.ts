export { type McqQuestion, readMcqQuestions } from './mcq-questions.js';
export {
  compareAnswers,
  judge,
  MCQ_RULES,
  type McqAnswer,
  type McqComparison,
  type McqRule,
  type McqSummary,
  type Share,
  summarise,
  wilson,
} from './mcq-results.js';
export {
  type ChoiceScore,
  MCQ_PROMPT,
  scoreQuestion,
  suffixLogProbs,
  tokenizeChoices,
} from './mcq-scorer.js';
