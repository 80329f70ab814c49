import type { PlainObject } from '@craft-ft/datasets/json';
import { isPlainObject } from '@craft-ft/datasets/json';
import { ConfigError, type Problem } from '@craft-ft/policies/config';

/** What may differ between a run and its continuation, by field or by the object that holds it. */
export interface ResumeRules {
  /** May change silently: they do not affect the computation. */
  free: readonly string[];
  /** May change, with a warning: the result then differs from an uninterrupted run. */
  warned: readonly string[];
}

/** LeRobot's fields. Everything not listed (data, seed, batch size, the policy's architecture) must stay. */
export const RESUME_RULES: ResumeRules = {
  free: [
    'resume',
    'output_dir',
    'job_name',
    'log_freq',
    'save_freq',
    'save_checkpoint',
    'num_workers',
    'use_policy_training_preset',
    'dataset.root',
    // These only say how the run was started; their effect is in the policy's features.
    'dataset.cameras',
    'dataset.image_size',
    'dataset.frame_cache',
    'policy.pretrained_path',
    'policy.repo_id',
    'policy.push_to_hub',
    'policy.private',
    'policy.tags',
    'policy.license',
  ],
  warned: ['steps', 'optimizer', 'scheduler', 'policy.device'],
};

/**
 * Compares a configuration with the one a checkpoint was written with.
 *
 * @param saved complete, so that a field which an older version (or LeRobot) did not write counts by its default
 * @returns warnings, one line each
 * @throws ConfigError listing every field that must not change
 */
export function checkResume(
  saved: PlainObject,
  now: PlainObject,
  rules: ResumeRules,
  source: string,
): string[] {
  const problems: Problem[] = [];
  const warnings: string[] = [];
  for (const { field, before, after } of differences(saved, now, '')) {
    if (covers(rules.free, field)) continue;
    if (covers(rules.warned, field)) {
      warnings.push(
        `${field} changes from ${show(before)} to ${show(after)}: the run continues, but not as it would have`,
      );
      continue;
    }
    problems.push({
      field,
      found: after,
      message: `cannot change on resume; the run was started with ${show(before)}: leave the flag out, or start a new run`,
    });
  }
  if (problems.length > 0) throw new ConfigError(problems, source);
  return warnings;
}

function covers(fields: readonly string[], field: string): boolean {
  return fields.some((one) => field === one || field.startsWith(`${one}.`));
}

const show = (value: unknown): string => (value === undefined ? 'nothing' : JSON.stringify(value));

function* differences(
  saved: unknown,
  now: unknown,
  field: string,
): Generator<{ field: string; before: unknown; after: unknown }> {
  if (isPlainObject(saved) && isPlainObject(now)) {
    for (const key of new Set([...Object.keys(saved), ...Object.keys(now)])) {
      yield* differences(saved[key], now[key], field === '' ? key : `${field}.${key}`);
    }
  } else if (JSON.stringify(saved) !== JSON.stringify(now)) {
    yield { field, before: saved, after: now };
  }
}
