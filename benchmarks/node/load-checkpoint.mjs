// One side of load-checkpoint. Usage: load-checkpoint.mjs make FILE | load FILE DTYPE
// A pi0_fast of about 230 million parameters, half of them in the two vocabulary-sized tables, as in the published model.
import { statSync } from 'node:fs';
import * as policies from '../../packages/policies/dist/index.js';
import * as torch from '../../packages/torch/dist/index.js';
import { status } from '../lib/measure.mjs';

torch.configureRuntime();

const [what, file, dtype] = process.argv.slice(2);
const MB = 2 ** 20;
const SIZES = {
  vision: { width: 384, depth: 4, mlpDim: 1536, heads: 6, patch: 14 },
  text: { width: 1024, depth: 8, mlpDim: 4096, heads: 8, kvHeads: 1, headDim: 128, vocabSize: 60_000 },
};

function makePolicy(type) {
  const config = policies.parsePolicyConfig(
    {
      type: 'pi0_fast',
      dtype: type,
      paligemma_variant: 'gemma_mini',
      device: 'cpu',
      input_features: { 'observation.state': { type: 'STATE', shape: [26] } },
      output_features: { action: { type: 'ACTION', shape: [26] } },
    },
    'load-checkpoint',
  );
  return new policies.Pi0FastPolicy(config, SIZES);
}

if (what === 'make') {
  torch.safetensors.saveFile(file, makePolicy('float32').stateDict(), { format: 'pt' });
  console.log(JSON.stringify({ file_mb: statSync(file).size / MB }));
} else {
  torch.ones([1000]).sum().item();
  const base = status('VmRSS');
  const before = performance.now();
  const policy = torch.nn.init.withoutInit(() => makePolicy(dtype));
  const source = torch.safetensors.openCheckpoint(file);
  torch.nn.loadCheckpoint(policy, source);
  const seconds = (performance.now() - before) / 1000;
  source.close();
  const bytes = { float32: 4, bfloat16: 2 };
  const policyBytes = policy.parameters().reduce((sum, one) => sum + one.numel * bytes[one.dtype], 0);
  const peak = status('VmHWM') - base;
  console.log(
    JSON.stringify({
      seconds,
      peak_mb: peak,
      policy_mb: policyBytes / MB,
      beyond_policy_mb: peak - policyBytes / MB,
    }),
  );
}
