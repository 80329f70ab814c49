// One side of pi0-fast. Usage: pi0-fast.mjs make FOLDER | run FOLDER STEPS TOKENS
// `make` writes the weights and inputs that both sides share.
import * as policies from '../../packages/policies/dist/index.js';
import { decodeTokens } from '../../packages/policies/dist/pi0_fast/decoding.js';
import * as torch from '../../packages/torch/dist/index.js';
import * as training from '../../packages/training/dist/index.js';
import { cpuMs, median, status } from '../lib/measure.mjs';
import { inputsPath, loadMini, miniConfig, weightsPath } from '../lib/pi0-fast.mjs';

torch.configureRuntime();

const [what, folder, steps, tokens] = process.argv.slice(2);
const [BATCH, SIDE, LANGUAGE, ACTIONS, VOCABULARY] = [4, 112, 96, 64, 2048];

function make() {
  torch.manualSeed(0);
  torch.safetensors.saveFile(weightsPath(folder), policies.makePolicy(miniConfig(SIDE)).stateDict(), {
    format: 'pt',
  });
  const lengths = (longest) => torch.arange(0, BATCH).mul(-7).add(longest).unsqueeze(1);
  const mask = (count) => torch.arange(0, count).unsqueeze(0).lt(lengths(count)).to('int64');
  torch.safetensors.saveFile(inputsPath(folder), [
    ['left', torch.rand([BATCH, 3, SIDE, SIDE])],
    ['right', torch.rand([BATCH, 3, SIDE, SIDE])],
    ['language', torch.randint(4, VOCABULARY, [BATCH, LANGUAGE], { dtype: 'int64' })],
    ['language_mask', mask(LANGUAGE)],
    ['actions', torch.randint(4, VOCABULARY, [BATCH, ACTIONS], { dtype: 'int64' })],
    ['action_mask', mask(ACTIONS)],
  ]);
  return {};
}

function run() {
  const { config, policy, batch } = loadMini(folder);
  const one = Object.fromEntries(Object.entries(batch).map(([key, value]) => [key, value.narrow(0, 0, 1)]));
  const decode = (maxSteps) =>
    torch.scope(() =>
      decodeTokens(policy.model, policy.prefixWithBos(one), { maxSteps, temperature: 0, endId: null }),
    );
  policy.eval();
  torch.noGrad(() => decode(3));
  const started = performance.now();
  const cpuStarted = cpuMs();
  const decoded = torch.noGrad(() => decode(Number(tokens)))[0];
  const decodeMs = performance.now() - started;
  const decodeCpuMs = cpuMs() - cpuStarted;

  policy.train();
  const optimization = new training.Optimization(
    policy,
    policies.policyPresets(config).optimizer,
    null,
    Number(steps),
  );
  const strategy = new training.BaselineStrategy(policy, optimization);
  const times = [];
  const cpuTimes = [];
  let loss;
  for (let i = 0; i < Number(steps) + 1; i++) {
    const before = performance.now();
    const cpuBefore = cpuMs();
    torch.scope(() => strategy.update(i, [() => batch]));
    if (i > 0) times.push(performance.now() - before);
    if (i > 0) cpuTimes.push(cpuMs() - cpuBefore);
    if (i === 0) loss = torch.scope(() => torch.noGrad(() => policy.call(batch).loss.item()));
  }
  return {
    step_ms: median(times),
    step_cpu_ms: median(cpuTimes),
    decode_ms_per_token: decodeMs / Number(tokens),
    decode_cpu_ms_per_token: decodeCpuMs / Number(tokens),
    peak_mb: status('VmHWM'),
    loss,
    tokens: decoded,
  };
}

console.log(JSON.stringify(what === 'make' ? make() : run()));
