import { type CraftConfig, comparesWithTeacher, resolveEpsilon, retentionWeights } from './config.js';

/** An absolute ε further from the retention loss than this factor is probably a mistake. */
const FAR = 5;

/** A distance from a teacher below this is what storing its answers as float16 makes of 0. */
const ROUNDING = 1e-3;

/**
 * Warnings about an ε on another scale than the loss it bounds, which lets λ run to a bound and stay there.
 *
 * @param start the retention loss before the first step
 */
export function scaleWarnings(config: CraftConfig, start: number): string[] {
  const { mode, start: epsilon } = resolveEpsilon(config);
  // The distance from a teacher begins near 0 where training starts from that teacher, and grows from there.
  const fromTeacher = retentionWeights(config).every(([each]) => comparesWithTeacher(each));
  if (mode === 'relative') {
    if (!fromTeacher || start > ROUNDING) return [];
    const remedy = 'use --craft.epsilon_mode=absolute, for example with --craft.epsilon_start=0.05';
    return [
      `warning: training starts from the teacher, and a relative ε would be a share of almost nothing; ${remedy}`,
    ];
  }
  const tooLarge = start > 0 && !fromTeacher && epsilon > FAR * start;
  if (start <= FAR * epsilon && !tooLarge) return [];
  const remedy = '--craft.epsilon_mode=relative measures it against that loss';
  return [`warning: craft.epsilon_start=${epsilon} is on another scale than the retention loss; ${remedy}`];
}
