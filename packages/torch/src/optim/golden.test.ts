import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { goldenPath, readGolden } from '../../test/golden.js';
import { fusedLevels } from '../../test/kernel-levels.js';
import { expectClose } from '../../test/numeric.js';
import * as torch from '../index.js';
import { effectiveSteps } from './schedules.js';

const { nn, optim } = torch;

interface AdamWCase {
  id: string;
  dtype: 'float32' | 'float64';
  n_params: number;
  n_steps: number;
  betas: [number, number];
  eps: number;
  weight_decay: number;
  lr_per_step_per_group: number[][];
  groups: number[][];
  clip_max_norm: number | null;
  clip_total_norms: number[] | null;
  step_missing_grads: [step: number, parameter: number][] | null;
  final_step_counts: number[];
}

interface ClipCase {
  id: string;
  max_norm: number;
  n_params: number;
  missing_grads: number[];
  total_norm: number;
}

interface ScheduleCase {
  num_warmup_steps: number;
  num_decay_steps: number;
  peak_lr: number;
  decay_lr: number;
  num_training_steps: number;
  optimizer_lr: number;
  effective_warmup_steps: number;
  effective_decay_steps: number;
  steps: number[];
  factor: number[];
  lr: number[];
}

const golden = readGolden<{
  adamw: AdamWCase[];
  clip_grad_norm: ClipCase[];
  cosine_decay_with_warmup: ScheduleCase[];
}>('optim', 'cases.json');
const tensors = torch.safetensors.loadFile(goldenPath('optim', 'tensors.safetensors'));
const get = (name: string) => {
  const found = tensors.get(name);
  if (found === undefined) throw new Error(`${name} is not among the recorded tensors`);
  return found;
};

function flatten(values: torch.Tensor[], groups: number[][]) {
  const parameters = values.map((value) => new nn.Parameter(value.clone()));
  const flat = new optim.FlatParameters(
    groups.map((group) => ({ parameters: group.map((k) => [`p${k}`, parameters[k]] as const) })),
  );
  return { parameters, flat, entryOf: groups.flat() };
}

describe.each(['composed' as const, ...fusedLevels()])('AdamW equals PyTorch (%s)', (level) => {
  beforeAll(() => void optim.useKernels(level));
  afterAll(() => void optim.useKernels('auto'));

  it.each(golden.adamw)('$id ($dtype)', (c) => {
    const inits = Array.from({ length: c.n_params }, (_, k) => get(`${c.id}.param${k}.init`));
    const rates = c.lr_per_step_per_group;
    const { parameters, flat, entryOf } = flatten(inits, c.groups);
    // A group's rate is a multiple of the first step's, which is what a schedule does.
    flat.groups.forEach((group, g) => {
      group.lr = rates[0][g];
    });
    const adamw = new optim.AdamW(flat, { betas: c.betas, eps: c.eps, weightDecay: c.weight_decay });
    const gradient = flat.gradBuffer();
    const tolerance = c.dtype === 'float64' ? 1e-12 : 2e-6;
    for (let t = 0; t < c.n_steps; t++) {
      gradient.zero();
      entryOf.forEach((k, entry) => {
        if (c.step_missing_grads?.some(([step, parameter]) => step === t && parameter === k)) return;
        gradient.view(entry).copy_(get(`${c.id}.step${t}.grad${k}`));
        gradient.reached[entry] = true;
      });
      if (c.clip_max_norm !== null) {
        const total = optim.clipGradNorm_(gradient.flat, c.clip_max_norm);
        expect(total / c.clip_total_norms![t]).toBeCloseTo(1, 5);
        entryOf.forEach((k, entry) => {
          expectClose(gradient.view(entry), get(`${c.id}.step${t}.clipped_grad${k}`), 1e-6);
        });
      }
      adamw.step(gradient, rates[t][0] / rates[0][0]);
      parameters.forEach((p, k) => {
        expectClose(p, get(`${c.id}.step${t}.param${k}`), tolerance);
      });
    }
    entryOf.forEach((k, entry) => {
      expect(adamw.steps[entry]).toBe(c.final_step_counts[k]);
      if (c.final_step_counts[k] === 0) return;
      expectClose(flat.view(adamw.expAvg, flat.entries[entry]), get(`${c.id}.final.exp_avg${k}`), 1e-6, 0);
      expectClose(
        flat.view(adamw.expAvgSq, flat.entries[entry]),
        get(`${c.id}.final.exp_avg_sq${k}`),
        1e-6,
        0,
      );
    });
  });
});

describe('clipGradNorm_ equals PyTorch', () => {
  it.each(golden.clip_grad_norm)('$id', (c) => {
    const present = Array.from({ length: c.n_params }, (_, k) => k).filter(
      (k) => !c.missing_grads.includes(k),
    );
    const flat = torch.cat(present.map((k) => get(`${c.id}.grad${k}`).flatten()));
    const norm = optim.clipGradNorm_(flat, c.max_norm);
    expect(Math.abs(norm - c.total_norm)).toBeLessThanOrEqual(1e-6 * Math.max(1e-30, c.total_norm));
    expectClose(flat, torch.cat(present.map((k) => get(`${c.id}.clipped${k}`).flatten())), 1e-6);
  });
});

describe('cosineDecayWithWarmup equals LeRobot', () => {
  it.each(golden.cosine_decay_with_warmup.map((c, i) => [i, c] as const))('case %i', (_, c) => {
    const options = {
      numWarmupSteps: c.num_warmup_steps,
      numDecaySteps: c.num_decay_steps,
      peakLr: c.peak_lr,
      decayLr: c.decay_lr,
      numTrainingSteps: c.num_training_steps,
    };
    expect(effectiveSteps(options)).toEqual({
      warmup: c.effective_warmup_steps,
      decay: c.effective_decay_steps,
    });
    const schedule = optim.cosineDecayWithWarmup(options);
    c.steps.forEach((step, i) => {
      expect(Math.abs(schedule(step) - c.factor[i])).toBeLessThan(1e-12);
      expect(Math.abs(c.optimizer_lr * schedule(step) - c.lr[i])).toBeLessThan(1e-14);
    });
  });
});
