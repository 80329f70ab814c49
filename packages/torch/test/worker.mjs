// Run by workers.test.ts: fits a line again and again and reports the slope, and what its own table holds at the end.
import { parentPort, workerData } from 'node:worker_threads';
import * as torch from '../dist/index.js';

const { rounds, slope, endless } = workerData;
const generator = new torch.Generator(slope);
const x = torch.randn([64, 1], { generator });
const w = torch.zeros([1, 1], { requiresGrad: true });
const before = torch.memory().tensors;
parentPort.postMessage('started');
for (let i = 0; endless || i < rounds; i++) {
  torch.scope(() => {
    const loss = x.matmul(w).sub(x.mul(slope)).square().mean();
    const [gradient] = torch.grad([loss], [w]);
    torch.noGrad(() => w.sub_(gradient, { alpha: 0.2 }));
    if (i % 50 === 0) torch.noGrad(() => torch.checkpoint((y) => y.exp(), x));
  });
}
const error = (() => {
  try {
    x.matmul(x);
  } catch (caught) {
    return caught.code;
  }
})();
parentPort.postMessage({
  fitted: w.item(),
  leaked: torch.memory().tensors - before,
  error,
  threads: torch.getNumThreads(),
});
