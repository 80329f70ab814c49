// One side of memory-flat: trains and reports. Usage: memory-flat.mjs STEPS
import * as torch from '../../packages/torch/dist/index.js';
import { status } from '../lib/measure.mjs';

torch.configureRuntime();

const STEPS = Number(process.argv[2]);
const [BATCH, LENGTH, DIM, HEADS, LAYERS, CLASSES] = [16, 64, 128, 4, 2, 32];
const { nn, optim } = torch;

class Block extends nn.Module {
  norm1 = new nn.LayerNorm(DIM);
  attention = new nn.MultiheadAttention(DIM, HEADS, { batchFirst: true });
  norm2 = new nn.LayerNorm(DIM);
  mlp = new nn.Sequential(new nn.Linear(DIM, 4 * DIM), new nn.GELU(), new nn.Linear(4 * DIM, DIM));

  forward(x) {
    const h = this.norm1.call(x);
    const y = x.add(this.attention.call(h, h, h));
    return y.add(this.mlp.call(this.norm2.call(y)));
  }
}

class Model extends nn.Module {
  embedding = new nn.Embedding(CLASSES, DIM);
  blocks = new nn.ModuleList(Array.from({ length: LAYERS }, () => new Block()));
  head = new nn.Linear(DIM, CLASSES);

  forward(tokens) {
    let x = this.embedding.call(tokens);
    for (const block of this.blocks) x = block.call(x);
    return this.head.call(x);
  }
}

torch.manualSeed(0);
const start = status('VmHWM');
const model = new Model();
const flat = new optim.FlatParameters([{ parameters: model.namedParameters() }]);
const adamw = new optim.AdamW(flat, { lr: 1e-3 });
const gradient = flat.gradBuffer();
const tokens = torch.randint(0, CLASSES, [BATCH, LENGTH]);
const targets = tokens.roll([1], [1]).flatten();

function step() {
  return torch.scope(() => {
    gradient.zero();
    const loss = nn.functional.crossEntropy(model.call(tokens).flatten(0, 1), targets);
    gradient.collect(() => loss.backward());
    optim.clipGradNorm_(gradient.flat, 1);
    adamw.step(gradient);
    return loss.item();
  });
}

const marks = [];
let [firstLoss, lastLoss] = [0, 0];
const times = [];
for (let i = 1; i <= STEPS; i++) {
  const before = performance.now();
  lastLoss = step();
  times.push(performance.now() - before);
  if (i === 1) firstLoss = lastLoss;
  if (![10, 100, 1000].includes(i)) continue;
  const { tensors, bytes } = torch.memory();
  marks.push({ step: i, tensors, tensor_mb: bytes / 2 ** 20, rss_mb: status('VmRSS') });
  process.stderr.write(`step ${i}: ${tensors} live tensors, ${marks.at(-1).rss_mb.toFixed(1)} MB resident\n`);
  await new Promise((resolve) => setTimeout(resolve, 1));
}
const stepMs = times.sort((a, b) => a - b)[Math.floor(times.length / 2)];
console.log(
  JSON.stringify({
    steps: STEPS,
    marks,
    start_mb: start,
    peak_mb: status('VmHWM'),
    step_ms: stepMs,
    first_loss: firstLoss,
    last_loss: lastLoss,
  }),
);
