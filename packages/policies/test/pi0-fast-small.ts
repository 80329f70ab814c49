import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { rand, randint, type Tensor, tensor } from '@craft-ft/torch';
import { type Pi0FastConfig, pi0FastConfigSchema } from '../src/pi0_fast/configuration.js';
import { FastTokenizer } from '../src/pi0_fast/fast/tokenizer.js';
import type { TensorBatch } from '../src/processors/step.js';

export const CAMERAS = ['observation.images.left', 'observation.images.right'] as const;

/** gemma_tiny with two cameras of 28 pixels, chunks of 4 two-dimensional actions and the byte tokeniser. */
export function smallConfig(changes: object = {}): Pi0FastConfig {
  return pi0FastConfigSchema.parse({
    type: 'pi0_fast',
    device: 'cpu',
    paligemma_variant: 'gemma_tiny',
    image_resolution: [28, 28],
    text_tokenizer_name: 'builtin:bytes',
    tokenizer_max_length: 12,
    max_action_tokens: 16,
    max_decoding_steps: 8,
    chunk_size: 4,
    n_action_steps: 3,
    input_features: Object.fromEntries(CAMERAS.map((key) => [key, { type: 'VISUAL', shape: [3, 28, 28] }])),
    output_features: { action: { type: 'ACTION', shape: [2] } },
    ...changes,
  });
}

/** A batch for it; the second row's texts are shorter. */
export function smallBatch(): TensorBatch {
  const mask = (length: number, short: number): Tensor =>
    tensor([Array<number>(length).fill(1), Array.from({ length }, (_, i) => Number(i < short))], {
      dtype: 'bool',
    });
  return {
    [CAMERAS[0]]: rand([2, 3, 28, 28]),
    [CAMERAS[1]]: rand([2, 3, 28, 28]),
    'observation.language.tokens': randint(4, 200, [2, 9], { dtype: 'int64' }),
    'observation.language.attention_mask': mask(9, 5),
    'action.tokens': randint(4, 2000, [2, 10], { dtype: 'int64' }),
    'action.token_mask': mask(10, 7),
  };
}

/** Trains a FAST tokeniser for chunks of 4 two-dimensional actions and saves it below `folder`. */
export function smallFast(folder: string): string {
  const chunks = Array.from({ length: 40 }, (_, n) =>
    Array.from({ length: 4 }, (_, t) => [Math.sin(n + t / 3), Math.cos(n - t / 2)]),
  );
  const path = join(folder, 'fast');
  mkdirSync(path, { recursive: true });
  FastTokenizer.fit(chunks, [4, 2], { vocabSize: 256 }).save(path);
  return path;
}
