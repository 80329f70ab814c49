// One side of op-overhead: microseconds per call, the best of several repetitions.
import * as torch from '../../packages/torch/dist/index.js';

torch.configureRuntime();

const CALLS = 20000;
const PER_SCOPE = 10; // as many as a small module's forward pass makes
const REPETITIONS = 15;

torch.setNumThreads(1);
const a = torch.ones([4, 4]);
const b = torch.ones([4, 4]);
const x = torch.ones([2, 4]);
const linear = new torch.nn.Linear(4, 4);

const calls = {
  add: () => a.add(b),
  mul_scalar: () => a.mul(2),
  matmul: () => a.matmul(b),
  view: () => a.view([16]),
  sum: () => a.sum(),
  linear_forward: () => linear.call(x),
};

function measure(call) {
  const some = () => {
    for (let i = 0; i < PER_SCOPE; i++) call();
  };
  let best = Infinity;
  for (let repetition = 0; repetition < REPETITIONS; repetition++) {
    const start = performance.now();
    for (let i = 0; i < CALLS / PER_SCOPE; i++) torch.scope(some);
    best = Math.min(best, ((performance.now() - start) * 1000) / CALLS);
  }
  return best;
}

console.log(
  JSON.stringify(Object.fromEntries(Object.entries(calls).map(([name, call]) => [name, measure(call)]))),
);
