import { expect, test } from 'vitest';
import { paligemmaNames } from './paligemma.js';

const ROOT = 'model.paligemma_with_expert.paligemma.';
const NORM = 'encoder.layers.0.layer_norm1.weight';

test.each([
  [`${ROOT}model.language_model.norm.weight`, [`${ROOT}model.language_model.norm.weight`]],
  [
    'paligemma_with_expert.paligemma.model.language_model.norm.weight',
    [`${ROOT}model.language_model.norm.weight`],
  ],
  [`${ROOT}lm_head.weight`, [`${ROOT}lm_head.weight`, `${ROOT}model.language_model.embed_tokens.weight`]],
  [
    'paligemma_with_expert.paligemma.lm_head.weight',
    [`${ROOT}lm_head.weight`, `${ROOT}model.language_model.embed_tokens.weight`],
  ],
  [`${ROOT}model.vision_tower.${NORM}`, [`${ROOT}model.vision_tower.vision_model.${NORM}`]],
  [`${ROOT}model.vision_tower.vision_model.${NORM}`, [`${ROOT}model.vision_tower.vision_model.${NORM}`]],
  ['something.else', ['model.something.else']],
])('%s', (name, expected) => {
  expect(paligemmaNames(name)).toEqual(expected);
});
