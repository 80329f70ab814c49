// Tensors, operators, autograd, scopes, a small network trained over flat parameters, and safetensors.
//
//   node examples/tensors-and-autograd.mjs
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as torch from '@craft-ft/torch';

torch.configureRuntime();

const { nn, optim } = torch;

// Operators are ATen's, in camelCase; keyword-only arguments go into an object at the end.
const x = torch.tensor([
  [1, 2],
  [3, 4],
]);
console.log('x @ x    ', x.matmul(x).tolist());
console.log('x + 10·x ', x.add(x, { alpha: 10 }).tolist());
console.log('column 1 ', x.index(torch.slice(), 1).tolist());

// Autograd.
const w = torch.tensor([3], { requiresGrad: true });
w.mul(w).sum().backward();
console.log('d(w²)/dw ', w.grad?.tolist());

// What a scope creates is freed when it ends, except what it returns.
const before = torch.memory().tensors;
const norm = torch.scope(() => x.mul(x).sum().sqrt());
console.log('norm     ', norm.item(), '- tensors that are left of it:', torch.memory().tensors - before);

// A network. Its parameters move into one flat buffer; so does their gradient.
class Net extends nn.Module {
  hidden = new nn.Linear(1, 32);
  out = new nn.Linear(32, 1);

  forward(input) {
    return this.out.call(this.hidden.call(input).tanh());
  }
}

torch.manualSeed(0);
const net = new Net();
const parameters = new optim.FlatParameters([{ parameters: net.namedParameters() }]);
const adamw = new optim.AdamW(parameters, { lr: 1e-2 });
const gradient = parameters.gradBuffer();
const inputs = torch.linspace(-3, 3, 64).unsqueeze(1);
const targets = inputs.sin();
for (let step = 0; step <= 300; step++) {
  torch.scope(() => {
    gradient.zero();
    const loss = nn.functional.mseLoss(net.call(inputs), targets);
    gradient.collect(() => loss.backward());
    adamw.step(gradient);
    if (step % 100 === 0) console.log(`step ${step}: loss ${loss.item().toFixed(5)}`);
  });
}

// Weights to a file and back.
const folder = mkdtempSync(join(tmpdir(), 'craft-example-'));
const file = join(folder, 'net.safetensors');
torch.safetensors.saveFile(file, net.stateDict(), { format: 'pt' });
const copy = new Net();
copy.loadStateDict(torch.safetensors.loadFile(file));
console.log('the copy computes the same:', copy.call(inputs).equal(net.call(inputs)));
rmSync(folder, { recursive: true });
