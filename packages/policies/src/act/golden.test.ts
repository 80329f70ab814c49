import type { Tensor } from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import {
  type ActGolden,
  goldenActPath,
  goldenPolicy,
  loadActGolden,
  relativeError,
  values,
} from '../../test/act-golden.js';
import type { ActPolicy } from './policy.js';

const CASES = [
  'a_state_env_vae',
  'b_image_vae',
  'b_narrow_image_vae',
  'c2_state_env_novae',
  'c_state_only_novae',
  'd_prenorm_dec2_vae',
  'e_gelu_dec2_vae',
];

/** Rows of gradients that are rounding noise, by parameter; see golden/README.md. */
function noiseRows({ expected }: ActGolden): Map<string, Set<number>> {
  const rows = new Map<string, Set<number>>();
  for (const [name, first, end] of expected.gradients_zero_in_exact_arithmetic) {
    const set = rows.get(name) ?? new Set();
    for (let row = first; row < end; row++) set.add(row);
    rows.set(name, set);
  }
  return rows;
}

function backward(policy: ActPolicy, golden: ActGolden): Map<string, Tensor | null> {
  policy.train();
  policy.call(golden.batch).loss.backward();
  return new Map(policy.namedParameters().map(([name, parameter]) => [name, parameter.grad]));
}

for (const name of CASES) {
  const path = goldenActPath(name);
  describe.skipIf(path === null)(`ACT equals LeRobot's: ${name}`, () => {
    const golden = path === null ? null! : loadActGolden(path);

    test('losses in training mode', () => {
      const { loss, metrics } = goldenPolicy(golden).call(golden.batch);
      const { losses } = golden.expected;
      expect(Math.abs(loss.item() / losses.total_loss - 1)).toBeLessThan(1e-5);
      expect(Math.abs((metrics.l1_loss as Tensor).item() / losses.l1_loss - 1)).toBeLessThan(1e-5);
      expect('kld_loss' in metrics).toBe(golden.config.use_vae);
      if (golden.config.use_vae) {
        expect(Math.abs((metrics.kld_loss as Tensor).item() / losses.kld_loss - 1)).toBeLessThan(1e-5);
      }
    });

    test('outputs in training mode', () => {
      const { actions, posterior } = goldenPolicy(golden).model.call(golden.batch);
      expect(relativeError(values(actions), golden.outputs.get('actions_hat')!)).toBeLessThan(1e-5);
      if (posterior === null) return;
      expect(relativeError(values(posterior.mu), golden.outputs.get('mu')!)).toBeLessThan(1e-5);
      expect(relativeError(values(posterior.logSigmaX2), golden.outputs.get('log_sigma_x2')!)).toBeLessThan(
        1e-5,
      );
    });

    test('loss in evaluation mode', () => {
      const policy = goldenPolicy(golden);
      policy.eval();
      const { loss, metrics } = policy.call(golden.batch);
      expect(Math.abs(loss.item() / golden.expected.losses.eval_mode_loss - 1)).toBeLessThan(1e-5);
      expect(Object.keys(metrics)).toEqual(['l1_loss']);
    });

    test('inference', () => {
      const { action: _, action_is_pad: __, noise: ___, ...observation } = golden.batch;
      const policy = goldenPolicy(golden);
      const actions = policy.predictActionChunk(observation);
      expect(relativeError(values(actions), golden.outputs.get('inference_actions')!)).toBeLessThan(1e-5);
      expect(actions.requiresGrad).toBe(false);
      expect(policy.training).toBe(true);
    });

    test('every gradient', () => {
      const policy = goldenPolicy(golden);
      const count = policy.parameters().reduce((sum, parameter) => sum + parameter.numel, 0);
      expect(count).toBe(golden.expected.parameter_count);
      const grads = backward(policy, golden);
      const noise = noiseRows(golden);
      let largest = 0;
      for (const { data } of golden.grads.values())
        for (const x of data) largest = Math.max(largest, Math.abs(x));
      for (const [parameter, expected] of golden.grads) {
        const grad = grads.get(parameter);
        const found =
          grad == null
            ? { shape: expected.shape, data: new Float64Array(expected.data.length) }
            : values(grad);
        const width = expected.data.length / expected.shape[0]!;
        for (const row of noise.get(parameter) ?? []) {
          for (let i = row * width; i < (row + 1) * width; i++) {
            expect(Math.abs(found.data[i]!), `noise of ${parameter}`).toBeLessThanOrEqual(1e-6 * largest);
            found.data[i] = expected.data[i]!;
          }
        }
        expect(relativeError(found, expected), parameter).toBeLessThan(1e-4);
      }
      let square = 0;
      for (const grad of grads.values())
        for (const x of grad === null ? [] : values(grad).data) square += x * x;
      expect(Math.abs(Math.sqrt(square) / golden.expected.global_grad_norm - 1)).toBeLessThan(1e-4);
      if (!name.startsWith('b_image')) {
        const withGradient = [...grads].filter(([, grad]) => grad !== null).map(([parameter]) => parameter);
        expect(withGradient.filter((parameter) => !golden.grads.has(parameter))).toEqual([]);
      }
    });
  });
}
