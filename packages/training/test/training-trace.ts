import { readFileSync } from 'node:fs';
import { safetensors, type Tensor } from '@craft-ft/torch';
import { expect } from 'vitest';
import { readJsonObject } from '../../datasets/src/json.js';
import { actConfigSchema } from '../../policies/src/act/configuration.js';
import { ActPolicy } from '../../policies/src/act/policy.js';
import type { OptimizerConfig } from '../../policies/src/config/optim.js';
import { goldenActPath } from '../../policies/test/act-golden.js';
import { DataStream } from '../src/data-stream.js';
import { Optimization } from '../src/optimization.js';

/** One step of a golden run; what a plain step does not have is absent. */
export interface TraceStep {
  step: number;
  task_loss: number;
  task_l1_loss: number;
  task_kld_loss: number;
  grad_norm_before_clip: number;
  retention_loss?: number;
  retain_l1_loss?: number;
  retain_kld_loss?: number;
  dot?: number;
  cos?: number;
  conflict?: boolean;
  epsilon: number;
  lambda_used: number;
  lambda_after: number;
}

interface Trace {
  initial_weights: Record<string, string>;
  unstable_weight_rows: [name: string, first: number, end: number][];
  hyperparameters: Record<
    'steps' | 'lr' | 'eps' | 'weight_decay' | 'clip_norm' | 'initial_lambda' | 'lambda_lr' | 'lambda_max',
    number
  > &
    Record<'epsilon_start' | 'epsilon_end' | 'conflict_threshold' | 'retention_freq', number> & {
      betas: [number, number];
      task_batch: number[];
      retain_batch: number[];
    };
  runs: Record<string, TraceStep[]>;
}

/** Batches of the golden runs, with their noise, as a stream of data. */
class TraceStream extends DataStream {
  constructor(private readonly of: (step: number) => Record<string, Tensor>) {
    // The golden batches replace dataset and sampler; only their size is asked for.
    super(null as never, { length: 12 } as never, 3, (batch) => batch);
  }

  override batch(step: number): Record<string, Tensor> {
    return this.of(step);
  }
}

const folder = goldenActPath('trace');

/** The 20-step runs of golden/act/trace. */
export function loadTrace() {
  if (folder === null) throw new Error('golden/act/trace is absent');
  const trace = JSON.parse(readFileSync(`${folder}/trace.json`, 'utf8')) as Trace;
  const inputs = safetensors.loadFile(`${folder}/inputs.safetensors`);
  const h = trace.hyperparameters;

  function stream(kind: 'task' | 'retain', stride = 1): DataStream {
    const noise = inputs.get(`noise.${kind}`)!;
    return new TraceStream((index) => {
      const step = index * stride;
      const prefix = `batch${h[`${kind}_batch`][step]}.`;
      const fields = [...inputs].filter(([name]) => name.startsWith(prefix));
      const batch = Object.fromEntries(fields.map(([name, tensor]) => [name.slice(prefix.length), tensor]));
      return { ...batch, noise: noise.select(0, step) };
    });
  }

  function start(run: string): { policy: ActPolicy; optimization: Optimization } {
    const config = actConfigSchema.parse(readJsonObject(`${folder}/../a_state_env_vae/config.json`));
    const policy = new ActPolicy(config);
    policy.loadStateDict(safetensors.loadFile(`${folder}/${trace.initial_weights[run]}`));
    const optimizer: OptimizerConfig = {
      type: 'adamw',
      lr: h.lr,
      betas: h.betas,
      eps: h.eps,
      weight_decay: h.weight_decay,
      grad_clip_norm: h.clip_norm,
    };
    return { policy, optimization: new Optimization(policy, optimizer, null, h.steps) };
  }

  /** Every weight after the last step, but for the rows that rounding noise decides. */
  function expectFinalWeights(run: string, policy: ActPolicy): void {
    const own = policy.stateDict();
    const expected = safetensors.loadFile(`${folder}/final_weights_${run}.safetensors`);
    expect(expected.size).toBeGreaterThan(50);
    for (const [name, tensor] of expected) {
      const [a, b] = [own.get(name)!.toTypedArray() as Float32Array, tensor.toTypedArray() as Float32Array];
      const width = a.length / tensor.shape[0]!;
      const unstable = trace.unstable_weight_rows.filter(([parameter]) => parameter === name);
      let worst = 0;
      b.forEach((value, i) => {
        const row = Math.floor(i / width);
        if (unstable.some(([, first, end]) => row >= first && row < end)) return;
        worst = Math.max(worst, Math.abs(value - a[i]!));
      });
      expect({ name, close: worst <= 2e-4, worst }).toMatchObject({ name, close: true });
    }
  }

  return { trace, stream, start, expectFinalWeights };
}

/** 1e-4, relative to max(1, expected). */
export function expectScalar(found: number | undefined, expected: number, what: string): void {
  const error = Math.abs(found! - expected) / Math.max(1, Math.abs(expected));
  expect({ what, close: error <= 1e-4, found, expected }).toMatchObject({ close: true });
}
