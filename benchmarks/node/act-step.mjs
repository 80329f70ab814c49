// One side of act-step: a training step of ACT (state only) at LeRobot's default size. Usage: act-step.mjs STEPS
import * as policies from '../../packages/policies/dist/index.js';
import * as torch from '../../packages/torch/dist/index.js';
import * as training from '../../packages/training/dist/index.js';
import { median, status } from '../lib/measure.mjs';

torch.configureRuntime();

const STEPS = Number(process.argv[2]);
const [BATCH, DIM] = [8, 26];

torch.manualSeed(0);
const config = policies.parsePolicyConfig(
  {
    type: 'act',
    input_features: { 'observation.state': { type: 'STATE', shape: [DIM] } },
    output_features: { action: { type: 'ACTION', shape: [DIM] } },
  },
  'act-step',
);
const policy = policies.makePolicy(config).train();
const optimization = new training.Optimization(policy, policies.policyPresets(config).optimizer, null, STEPS);
const strategy = new training.BaselineStrategy(policy, optimization);
const batch = {
  'observation.state': torch.randn([BATCH, DIM]),
  action: torch.randn([BATCH, config.chunk_size, DIM]),
  action_is_pad: torch.zeros([BATCH, config.chunk_size], { dtype: 'bool' }),
};
const times = [];
for (let i = 0; i < STEPS + 1; i++) {
  const before = performance.now();
  torch.scope(() => strategy.update(i, [() => batch]));
  if (i > 0) times.push(performance.now() - before);
}
const parameters = policy.parameters().reduce((sum, parameter) => sum + parameter.numel, 0);
console.log(
  JSON.stringify({
    step_ms: median(times),
    peak_mb: status('VmHWM'),
    parameters,
  }),
);
