import { readFileSync } from 'node:fs';
import { nn, safetensors, stack, type Tensor } from '@craft-ft/torch';
import { findGolden } from '../../torch/test/shared.js';
import { pi0FastConfigSchema } from '../src/pi0_fast/configuration.js';
import { Pi0FastPolicy } from '../src/pi0_fast/policy.js';
import type { TensorBatch } from '../src/processors/step.js';
import { type PaligemmaSizes, paligemmaNames } from '../src/vlm/paligemma.js';
import { type Values, values } from './act-golden.js';

/** The folder of golden numbers, or null where it is absent. */
export const GOLDEN_PI0_FAST = findGolden('pi0_fast', 'tiny_a');

export const CASES = ['case1_one_camera', 'case2_second_camera_missing', 'case3_mixed_camera_mask'] as const;

/** tiny_a of golden/pi0_fast. */
export const TINY_A: PaligemmaSizes = {
  vision: { width: 32, depth: 2, mlpDim: 64, heads: 4, patch: 14 },
  text: { width: 48, depth: 3, mlpDim: 96, heads: 4, kvHeads: 1, headDim: 16, vocabSize: 320 },
};

/** A policy of those sizes that sees `cameras` cameras. BOS is 2, the end is chosen by the test. */
export function tinyPolicy(cameras: number, changes: object = {}): Pi0FastPolicy {
  const inputs = Array.from({ length: cameras }, (_, i) => [
    `observation.images.cam${i}`,
    { type: 'VISUAL', shape: [3, 56, 56] },
  ]);
  const config = pi0FastConfigSchema.parse({
    type: 'pi0_fast',
    device: 'cpu',
    paligemma_variant: 'gemma_tiny',
    image_resolution: [56, 56],
    text_tokenizer_name: 'builtin:bytes:260',
    chunk_size: 4,
    n_action_steps: 3,
    input_features: Object.fromEntries(inputs),
    output_features: { action: { type: 'ACTION', shape: [2] } },
    ...changes,
  });
  return new Pi0FastPolicy(config, TINY_A);
}

export interface Pi0FastGolden {
  policy: Pi0FastPolicy;
  batch: TensorBatch;
  expected: Map<string, Values>;
}

/** One case, its inputs as a batch, and the policy with the golden weights. */
export function loadCase(name: string, changes: object = {}, weights = 'model'): Pi0FastGolden {
  const file = safetensors.loadFile(`${GOLDEN_PI0_FAST}/${name}.safetensors`);
  const input = (key: string): Tensor => file.get(`in.${key}`)!;
  const cameras = [0, 1].filter((i) => file.has(`in.image.cam${i}`));
  const batch: TensorBatch = {
    'observation.language.tokens': input('lang_tokens').to('int64'),
    'observation.language.attention_mask': input('lang_masks'),
    'action.tokens': input('action_tokens').to('int64'),
    'action.token_mask': input('action_masks'),
  };
  for (const i of cameras) {
    batch[`observation.images.cam${i}`] = input(`image.cam${i}`).add(1).div(2);
    batch[`observation.images.cam${i}_is_pad`] = input(`image_mask.cam${i}`).logicalNot();
  }
  const policy = tinyPolicy(cameras.length, changes);
  using checkpoint = safetensors.openCheckpoint(`${GOLDEN_PI0_FAST}/${weights}.safetensors`);
  nn.loadCheckpoint(policy, checkpoint, { rename: paligemmaNames });
  return { policy, batch, expected: inTheClear(file) };
}

export function loadValues(file: string): Map<string, Values> {
  return inTheClear(safetensors.loadFile(`${GOLDEN_PI0_FAST}/${file}.safetensors`));
}

export function readGoldenJson<T>(file: string): T {
  return JSON.parse(readFileSync(`${GOLDEN_PI0_FAST}/${file}.json`, 'utf8'));
}

function inTheClear(file: ReadonlyMap<string, Tensor>): Map<string, Values> {
  return new Map([...file].map(([name, tensor]) => [name, values(tensor)]));
}

/** The images of a batch as the golden files number them: `[B, cameras, 3, S, S]` in [-1, 1]. */
export function goldenImages(batch: TensorBatch): Tensor {
  const keys = Object.keys(batch).filter((key) => /cam\d$/.test(key));
  return stack(
    keys.map((key) => batch[key]!.mul(2).sub(1)),
    1,
  );
}

/** Largest absolute difference; Infinity where shapes differ. */
export function difference(found: Tensor | Values, expected: Values): number {
  const own = 'data' in found ? found : values(found);
  if (own.shape.join() !== expected.shape.join()) return Number.POSITIVE_INFINITY;
  return expected.data.reduce((worst, value, i) => Math.max(worst, Math.abs(value - own.data[i]!)), 0);
}
