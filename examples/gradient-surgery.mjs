// The mathematics of CRaFT on two-dimensional gradients, then on a problem small enough to solve by hand.
//
//   node examples/gradient-surgery.mjs
import {
  combine,
  computeDot,
  epsilonSchedule,
  mergeGrads,
  projectIfConflict,
  updateLambda,
} from '@craft-ft/craft';
import * as torch from '@craft-ft/torch';

torch.configureRuntime();

// Two gradients that conflict: a step against the task's raises the retention loss.
const task = [torch.tensor([1, 1])];
const retain = [torch.tensor([-2, 0])];
console.log('⟨g_t, g_r⟩     ', computeDot(task, retain));
const { projected, conflict, cos } = projectIfConflict(task, retain, -0.1);
console.log('conflict       ', conflict, 'cosine', cos.toFixed(4));
console.log('projected g_t  ', projected[0].tolist(), '- now ⟨g_t, g_r⟩ =', computeDot(projected, retain));
for (const mode of ['weighted', 'equal', 'task_priority']) {
  console.log(`merged, ${mode.padEnd(13)}`, mergeGrads(projected, retain, 1.5, mode)[0].tolist());
}

// The same on flat buffers, as training does it: three inner products, two coefficients, and a·g_t + b·g_r within the optimiser's pass.
const flatTask = torch.tensor([1, 1]);
const flatRetain = torch.tensor([-2, 0]);
const [products] = torch.optim.gram(flatTask, flatRetain);
const { a, b, norm } = combine(products, { lambda: 1.5 });
console.log('a, b, |g|      ', a, b, norm, '→', flatTask.mul(a).add(flatRetain, { alpha: b }).tolist());

console.log(
  'ε over 100 steps',
  [0, 50, 100].map((step) => epsilonSchedule(step, 1, 0.1, 100, 'cosine').toFixed(3)),
);

// Minimise (θ − 4)² subject to θ² ≤ 1. The answer is θ = 1; there 2(θ − 4) + λ·2θ = 0 gives λ = 3.
let lambda = 0;
const theta = torch.tensor([0]);
for (let step = 0; step <= 2000; step++) {
  torch.scope(() => {
    const value = theta.item();
    const gTask = torch.tensor([2 * (value - 4)]);
    const gRetain = torch.tensor([2 * value]);
    // One dimension leaves no room beside the constraint, so there is nothing to project onto: merge only.
    const { a, b } = combine(torch.optim.gram(gTask, gRetain)[0], { lambda, surgery: 'none' });
    theta.sub_(gTask.mul(a).add_(gRetain, { alpha: b }), { alpha: 0.02 });
    lambda = updateLambda(lambda, value ** 2, 1, 0.05, 10);
    if (step % 500 === 0) console.log(`step ${step}: θ ${theta.item().toFixed(4)}, λ ${lambda.toFixed(4)}`);
  });
}
