import { readFileSync } from 'node:fs';
import { safetensors, type Tensor } from '@craft-ft/torch';
import { readJsonObject } from '../../datasets/src/json.js';
import { findGolden } from '../../torch/test/shared.js';
import { type ActConfig, actConfigSchema } from '../src/act/configuration.js';
import { ActPolicy } from '../src/act/policy.js';

/** Tensor values in the clear: what comparisons need. */
export interface Values {
  shape: number[];
  data: Float64Array;
}

export interface GoldenLosses {
  total_loss: number;
  l1_loss: number;
  kld_loss: number;
  eval_mode_loss: number;
}

/** One folder of golden/act. */
export interface ActGolden {
  config: ActConfig;
  weights: Map<string, Tensor>;
  batch: Record<string, Tensor>;
  outputs: Map<string, Values>;
  grads: Map<string, Values>;
  expected: {
    losses: GoldenLosses;
    parameter_count: number;
    global_grad_norm: number;
    /** [name, first row, end row] */
    gradients_zero_in_exact_arithmetic: [string, number, number][];
  };
}

/** The folder of golden/act/NAME, or null where it is absent. */
export const goldenActPath = (name: string): string | null => findGolden('act', name);

export function values(tensor: Tensor): Values {
  return { shape: tensor.shape, data: Float64Array.from(tensor.toTypedArray() as Float32Array) };
}

export function loadActGolden(path: string): ActGolden {
  const load = (file: string) => safetensors.loadFile(`${path}/${file}.safetensors`);
  const inTheClear = (file: string) =>
    new Map([...load(file)].map(([name, tensor]) => [name, values(tensor)]));
  return {
    config: actConfigSchema.parse(readJsonObject(`${path}/config.json`)),
    weights: load('weights'),
    batch: Object.fromEntries(load('batch')),
    outputs: inTheClear('expected'),
    grads: inTheClear('grads'),
    expected: JSON.parse(readFileSync(`${path}/expected.json`, 'utf8')),
  };
}

/** The policy of a golden case, its weights loaded strictly. */
export function goldenPolicy({ config, weights }: ActGolden): ActPolicy {
  const policy = new ActPolicy(config);
  policy.loadStateDict(weights);
  return policy;
}

/** Largest absolute difference, relative to the largest expected value. */
export function relativeError(found: Values, expected: Values): number {
  if (found.shape.join() !== expected.shape.join()) return Number.POSITIVE_INFINITY;
  let largest = 0;
  let difference = 0;
  expected.data.forEach((value, i) => {
    largest = Math.max(largest, Math.abs(value));
    difference = Math.max(difference, Math.abs(value - found.data[i]!));
  });
  return difference / (largest || 1);
}
