import type { Policy } from '@craft-ft/policies';
import { nn, noGrad, scope, type Tensor, zeros } from '@craft-ft/torch';
import { Optimization } from '@craft-ft/training';
import { GradientPair, type Grads } from '../src/surgery/grad-surgery.js';
import type { GroupedCombination, SurgerySettings } from '../src/surgery/surgery.js';

/**
 * The merged gradient as training applies it: two flat buffers filled by backward passes, the decision on them, and what an optimiser step
 * takes off the parameters. The step is gradient descent in all but name: with β = 0 and a huge eps = lr, AdamW's update is g.
 */
export function mergedInTraining(
  task: Grads,
  retain: Grads,
  settings: SurgerySettings,
): { cut: GroupedCombination; merged: (Tensor | null)[] } {
  return scope(() => {
    const some = (i: number) => (task[i] ?? retain[i])!;
    const parameters = task.map((_, i) =>
      task[i] === null && retain[i] === null
        ? null
        : new nn.Parameter(zeros(some(i).shape, { dtype: some(i).dtype })),
    );
    const named = parameters.flatMap((parameter, i) =>
      parameter === null ? [] : [[`p${i}`, parameter] as const],
    );
    const policy = { parameterGroups: () => [{ parameters: named }] } as unknown as Policy;
    const eps = some(task.findIndex((_, i) => parameters[i] !== null)).dtype === 'float64' ? 1e30 : 1e20;
    const plain = { type: 'adamw', lr: eps, eps, weight_decay: 0, grad_clip_norm: 0 } as const;
    const optimization = new Optimization(policy, { ...plain, betas: [0, 0] }, null, 1);
    const pair = new GradientPair(optimization.parameters, 'model');
    for (const [buffer, grads] of [
      [pair.task, task],
      [pair.retain, retain],
    ] as const) {
      const terms = grads.flatMap((grad, i) => (grad === null ? [] : [parameters[i]!.mul(grad).sum()]));
      buffer.collect(() => {
        for (const term of terms) term.backward();
      });
    }
    const cut = pair.combine(settings);
    optimization.apply(0, pair.merged(cut), cut.norm);
    return { cut, merged: noGrad(() => parameters.map((parameter) => parameter?.detach().neg() ?? null)) };
  });
}
