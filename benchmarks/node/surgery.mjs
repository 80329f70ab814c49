// One side of surgery: projection, merge, clipping and AdamW on two given gradients. Usage: surgery.mjs STEPS SHAPES
import * as craft from '../../packages/craft/dist/index.js';
import * as torch from '../../packages/torch/dist/index.js';
import { median, status } from '../lib/measure.mjs';

torch.configureRuntime();

const STEPS = Number(process.argv[2]);
const shapes = JSON.parse(process.argv[3]);
const { optim, nn } = torch;

torch.manualSeed(0);
const values = shapes.map((shape) => torch.randn(shape).mul_(0.02));
const flat = new optim.FlatParameters([{ parameters: values.map((v, i) => [`p${i}`, new nn.Parameter(v)]) }]);
const adamw = new optim.AdamW(flat, { lr: 1e-5, weightDecay: 1e-4 });
for (const value of values) value.dispose();

function buffer(gradient) {
  const made = flat.gradBuffer();
  shapes.forEach((shape, i) => {
    torch.scope(() => void made.view(i).copy_(gradient(torch.randn(shape).mul_(1e-3), i)));
  });
  made.reached.fill(true);
  return made;
}
const task = buffer((noise) => noise);
const retain = buffer((noise, i) => noise.sub_(task.view(i), { alpha: 0.5 }));

function step() {
  const { a, b, norm, conflict } = craft.surgery(task.flat, retain.flat, { lambda: 1 });
  adamw.step({ first: task, second: retain, a, b }, 1, optim.clipFactor(norm, 10));
  return conflict;
}

function timed(body) {
  const before = performance.now();
  body();
  return performance.now() - before;
}
let conflict = false;
for (let i = 0; i < STEPS; i++) conflict = step();
const absolute = ({ parameter }) => torch.scope(() => parameter.detach().to('float64').abs().sum().item());
const sum = flat.entries.reduce((total, entry) => total + absolute(entry), 0);
const peak = status('VmHWM');

// What it costs to move ten floats per parameter through libtorch's own vector loops: 3 × (read 2, write 1), read 1.
const spare = [0, 1, 2].map(() => flat.zeros());
function stream() {
  spare[0].add_(task.flat);
  spare[1].add_(retain.flat);
  spare[2].add_(task.flat);
  torch.scope(() => retain.flat.sum().item());
}

const kinds = {
  step_ms: step,
  gram_ms: () => optim.gram(task.flat, retain.flat),
  stream_ms: stream,
  baseline_ms: () => adamw.step(task, 1, optim.clipFactor(optim.gradNorm(task.flat), 10)),
};
const times = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, []]));
// Alternate, so that a busy moment of the machine affects all of them.
for (let i = 0; i < STEPS; i++) for (const kind in kinds) times[kind].push(timed(kinds[kind]));
optim.useKernels('composed');
times.composed_ms = Array.from({ length: STEPS }, () => timed(step));

console.log(
  JSON.stringify({
    ...Object.fromEntries(Object.entries(times).map(([kind, list]) => [kind, median(list)])),
    stream_ratio: median(times.step_ms.map((ms, i) => ms / times.stream_ms[i])),
    conflict,
    sum,
    parameters: flat.entries.reduce((total, { length }) => total + length, 0),
    tensors: flat.entries.length,
    peak_mb: peak,
  }),
);
