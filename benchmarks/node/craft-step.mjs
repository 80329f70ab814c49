// One side of craft-step: training steps of CRaFT or the baseline. Usage: craft-step.mjs act|pi0_fast craft|baseline STEPS FOLDER
// CRaFT's retention_freq is 2, so that steps with and without a retention gradient alternate.
import * as craft from '../../packages/craft/dist/index.js';
import * as policies from '../../packages/policies/dist/index.js';
import * as torch from '../../packages/torch/dist/index.js';
import * as training from '../../packages/training/dist/index.js';
import { cpuMs, median, status } from '../lib/measure.mjs';
import { loadMini } from '../lib/pi0-fast.mjs';

torch.configureRuntime();

const [type, kind, count, folder] = process.argv.slice(2);
const STEPS = Number(count);

const feature = (kindOf, ...shape) => ({ type: kindOf, shape });

function act() {
  const [batchSize, dim, side] = [4, 26, 128];
  const config = policies.parsePolicyConfig(
    {
      type: 'act',
      pretrained_backbone_weights: null,
      input_features: {
        'observation.state': feature('STATE', dim),
        'observation.images.camera': feature('VISUAL', 3, side, side),
      },
      output_features: { action: feature('ACTION', dim) },
    },
    'craft-step',
  );
  const batch = () => ({
    'observation.state': torch.randn([batchSize, dim]),
    'observation.images.camera': torch.rand([batchSize, 3, side, side]),
    action: torch.randn([batchSize, config.chunk_size, dim]),
    action_is_pad: torch.zeros([batchSize, config.chunk_size], { dtype: 'bool' }),
  });
  return { config, policy: policies.makePolicy(config), task: batch(), anchors: batch(), batchSize };
}

function pi0Fast() {
  const { batch, ...rest } = loadMini(folder);
  return { ...rest, task: batch, anchors: batch };
}

torch.manualSeed(0);
const { config, policy, task, anchors, batchSize } = type === 'act' ? act() : pi0Fast();
policy.train();
const optimization = new training.Optimization(
  policy,
  policies.policyPresets(config).optimizer,
  null,
  2 * STEPS + 2,
);

function craftStrategy() {
  const stream = {
    batchSize,
    framesPerEpoch: batchSize,
    ready: async () => {},
    batch: () => ({ ...anchors }),
    close: async () => {},
  };
  const settings = craft.craftConfigSchema.parse({
    enabled: true,
    anchor_dataset_path: 'anchors',
    retention_freq: 2,
    // Always project, so that every step does all of its work.
    conflict_threshold: 2,
  });
  return new craft.CraftStrategy({
    policy,
    optimization,
    anchors: stream,
    config: settings,
    steps: 2 * STEPS + 2,
  });
}

const isCraft = kind === 'craft';
const strategy = isCraft ? craftStrategy() : new training.BaselineStrategy(policy, optimization);
await strategy.begin(0);
const times = [[], []];
for (let i = 0; i < (isCraft ? 2 : 1) * (STEPS + 1); i++) {
  await strategy.ready(i);
  const [before, cpuBefore] = [performance.now(), cpuMs()];
  torch.scope(() => strategy.update(i, [() => ({ ...task })]));
  times[isCraft ? i % 2 : 0].push({ ms: performance.now() - before, cpu: cpuMs() - cpuBefore });
}
// The first step of each kind is warm-up.
const middle = (list, key) => median(list.slice(1).map((time) => time[key]));
const [step, between] = times;
console.log(
  JSON.stringify({
    step_ms: middle(step, 'ms'),
    cpu_ms: middle(step, 'cpu'),
    ...(isCraft && { between_ms: middle(between, 'ms'), between_cpu_ms: middle(between, 'cpu') }),
    peak_mb: status('VmHWM'),
    parameters: optimization.parameters.entries.reduce((sum, { length }) => sum + length, 0),
  }),
);
