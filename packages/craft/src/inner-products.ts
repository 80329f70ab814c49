import * as torch from '@craft-ft/torch';
import { CraftError, type Tensor } from '@craft-ft/torch';
import type { Products } from './coefficients.js';

/** A gradient per parameter; null where the loss does not reach the parameter. */
export type Grads = readonly (Tensor | null)[];

// At most libtorch's grain size, so that a copy into the buffer stays on one core and in its cache: threads that meet
// once per chunk cost more than they save. An accelerator wants few, large kernels instead.
const CPU_CHUNK = 32_768;
const DEVICE_CHUNK = 1 << 22;

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
 * ⟨g_t, g_r⟩, |g_t|² and |g_r|² over all parameters, reading both gradients once.
 *
 * Products and sums are float64 whatever the gradients' dtype (float32 on mps, which has no float64). A chunk of both
 * gradients at a time is widened into a buffer of two rows, whose product with its own transpose holds all three numbers;
 * so no copy of a gradient is ever as large as the gradient, and the device is waited for once.
 *
 * @throws CraftError `GRADS_MISMATCH` as {@link checkPairs}
 */
export function innerProducts(gradTask: Grads, gradRetain: Grads): Products {
  checkPairs(gradTask, gradRetain);
  const any = gradTask.find((grad) => grad !== null) ?? gradRetain.find((grad) => grad !== null);
  if (!any) return { d: 0, T: 0, R: 0 };
  return torch.noGrad(() =>
    torch.scope(() => {
      const device = any.device;
      const dtype = device.startsWith('mps') ? 'float32' : 'float64';
      const largest = Math.max(1, ...gradTask.map((task, i) => (task ?? gradRetain[i])?.numel ?? 0));
      const chunk = Math.min(device === 'cpu' ? CPU_CHUNK : DEVICE_CHUNK, largest);
      const buffer = torch.empty([2, chunk], { dtype, device });
      const total = torch.zeros([2, 2], { dtype, device });
      gradTask.forEach((task, i) => {
        addProducts(total, buffer, task, gradRetain[i]);
      });
      const [T, d, , R] = total.flatten().tolist() as number[];
      return { d, T, R };
    }),
  );
}

/** Adds to `total` the 2×2 inner products of one pair, one buffer's width at a time. */
function addProducts(total: Tensor, buffer: Tensor, task: Tensor | null, retain: Tensor | null): void {
  const count = (task ?? retain)?.numel ?? 0;
  const width = buffer.size(1);
  torch.scope(() => {
    const rows = [task, retain].map((grad) => grad?.reshape([-1]) ?? null);
    for (let start = 0; start < count; start += width) {
      const length = Math.min(width, count - start);
      torch.scope(() => {
        const part = length === width ? buffer : buffer.narrow(1, 0, length);
        rows.forEach((row, side) => {
          const target = part.select(0, side);
          if (row === null) target.zero_();
          else target.copy_(row.narrow(0, start, length));
        });
        total.add_(part.matmul(part.t()));
      });
    }
  });
}
