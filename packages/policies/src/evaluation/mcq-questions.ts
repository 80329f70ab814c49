import { existsSync, readFileSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { CraftError } from '@craft-ft/torch/errors';
import { z } from 'zod';

/** A multiple-choice question about images. */
export interface McqQuestion {
  /** Where it was read. */
  file: string;
  /** Line of the file, from 1. */
  line: number;
  id: string;
  /** Paths of its images, in the order the model sees them; may be empty. */
  images: readonly string[];
  question: string;
  choices: readonly string[];
  /** Index of the right choice. */
  answer: number;
}

const text = z.string().refine((value) => value.trim() !== '', 'expected text, found none');

const questionSchema = z
  .looseObject({
    id: z.union([z.string(), z.number()]).optional(),
    image_path: text.nullable().optional(),
    image: text.nullable().optional(),
    images: z.array(text).optional(),
    question: text,
    choices: z.array(text).min(2, 'expected at least two choices'),
    answer_index: z.int().min(0),
  })
  .refine(({ choices, answer_index: answer }) => answer < choices.length, {
    path: ['answer_index'],
    message: 'expected the index of a choice, counted from 0',
  })
  .refine(({ choices }) => new Set(choices.map((choice) => choice.trim())).size === choices.length, {
    path: ['choices'],
    message: 'two choices are the same',
  })
  .refine((one) => [one.image_path, one.image, one.images].filter((given) => given != null).length <= 1, {
    path: ['images'],
    message: 'expected one of image_path, image and images',
  });

/**
 * Reads questions, one JSON object per line: `question`, `choices` (at least two), `answer_index` (from 0), and `image_path`,
 * `image` or `images`. `id` names the question in results; other fields are ignored. Empty lines are skipped. Any other line that
 * is not a question is an error, because a result over the remaining questions would be a different test.
 *
 * @param imageRoot folder that image paths are relative to. Default: the file's
 * @throws CraftError `MCQ_QUESTIONS` naming file, line and field
 */
export function readMcqQuestions(file: string, imageRoot = dirname(file)): McqQuestion[] {
  let lines: string[];
  try {
    lines = readFileSync(file, 'utf8').split('\n');
  } catch (error) {
    throw refuse(file, (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : String(error));
  }
  const questions = lines.flatMap((line, i) => (line.trim() === '' ? [] : [parse(line, i + 1)]));
  if (questions.length === 0) throw refuse(file, 'holds no questions');
  return questions;

  function parse(source: string, line: number): McqQuestion {
    const where = `${file}:${line}`;
    let json: unknown;
    try {
      json = JSON.parse(source);
    } catch (error) {
      throw refuse(where, `not valid JSON: ${(error as Error).message}`);
    }
    const parsed = questionSchema.safeParse(json);
    if (!parsed.success) {
      const issue = parsed.error.issues[0]!;
      throw refuse(where, `${issue.path.join('.') || 'the line'}: ${issue.message}`);
    }
    const { id, image_path: path, image, images, question, choices, answer_index: answer } = parsed.data;
    const given = images ?? [path ?? image].filter((one) => one != null);
    const paths = given.map((one) => (isAbsolute(one) ? one : join(imageRoot, one)));
    const missing = paths.find((one) => !existsSync(one));
    if (missing !== undefined) throw refuse(where, `no such image: ${missing}`);
    return { file, line, id: String(id ?? line), images: paths, question, choices, answer };
  }
}

function refuse(where: string, message: string): CraftError {
  return new CraftError('MCQ_QUESTIONS', `${where}: ${message}`);
}
