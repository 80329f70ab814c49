import { CraftError, optim, type Tensor } from '@craft-ft/torch';
import type { Products } from './coefficients.js';

/** A gradient per parameter; null where the loss does not reach the parameter. */
export type Grads = readonly (Tensor | null)[];

/** @throws CraftError `GRADS_MISMATCH` where the lists, or two gradients of one parameter, differ in size */
export function checkPairs(gradTask: Grads, gradRetain: Grads): void {
  if (gradTask.length !== gradRetain.length) {
    const counts = `${gradTask.length} task gradients and ${gradRetain.length} retention gradients`;
    throw new CraftError(
      'GRADS_MISMATCH',
      `${counts}: pass one entry per parameter, null where it is missing`,
    );
  }
  gradTask.forEach((task, i) => {
    const [left, right] = [task?.shape, gradRetain[i]?.shape];
    if (left === undefined || right === undefined || left.join() === right.join()) return;
    const shapes = `[${left}] (task) and [${right}] (retention)`;
    throw new CraftError(
      'GRADS_MISMATCH',
      `gradient ${i} has shapes ${shapes}: both must be the parameter's`,
    );
  });
}

/**
 * ⟨g_t, g_r⟩, |g_t|² and |g_r|² over all parameters, reading both gradients once (`torch.optim.gramOfPairs`).
 *
 * @throws CraftError `GRADS_MISMATCH` as `checkPairs`
 */
export function innerProducts(gradTask: Grads, gradRetain: Grads): Products {
  checkPairs(gradTask, gradRetain);
  return sumOfProducts(optim.gramOfPairs(gradTask.map((task, i) => [task, gradRetain[i]] as const)));
}

/** The products over several stretches together. */
export function sumOfProducts(parts: readonly Products[]): Products {
  return parts.reduce((sum, { d, T, R }) => ({ d: sum.d + d, T: sum.T + T, R: sum.R + R }), {
    d: 0,
    T: 0,
    R: 0,
  });
}
