// The pi0_fast model of the benchmarks: variant gemma_mini, two cameras. Both languages read its weights and inputs from the same files.
import { join } from 'node:path';
import * as policies from '../../packages/policies/dist/index.js';
import * as torch from '../../packages/torch/dist/index.js';

export const weightsPath = (folder) => join(folder, 'model.safetensors');
export const inputsPath = (folder) => join(folder, 'inputs.safetensors');

/** @param {number} side of a camera's square image, in pixels */
export function miniConfig(side) {
  const camera = { type: 'VISUAL', shape: [3, side, side] };
  return policies.parsePolicyConfig(
    {
      type: 'pi0_fast',
      paligemma_variant: 'gemma_mini',
      device: 'cpu',
      image_resolution: [side, side],
      text_tokenizer_name: 'builtin:bytes',
      input_features: {
        'observation.state': { type: 'STATE', shape: [26] },
        'observation.images.left': camera,
        'observation.images.right': camera,
      },
      output_features: { action: { type: 'ACTION', shape: [26] } },
    },
    'pi0-fast',
  );
}

/** The policy and the batch that `node/pi0-fast.mjs make` wrote. */
export function loadMini(folder) {
  const file = torch.safetensors.loadFile(inputsPath(folder));
  const [batchSize, , side] = file.get('left').shape;
  const config = miniConfig(side);
  const policy = policies.makePolicy(config);
  policy.loadStateDict(torch.safetensors.loadFile(weightsPath(folder)));
  const batch = {
    'observation.images.left': file.get('left'),
    'observation.images.right': file.get('right'),
    'observation.language.tokens': file.get('language'),
    'observation.language.attention_mask': file.get('language_mask').to('bool'),
    'action.tokens': file.get('actions'),
    'action.token_mask': file.get('action_mask').to('bool'),
  };
  return { config, policy, batch, batchSize };
}
