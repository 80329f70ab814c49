import { noGrad, ones, scope, stack, type Tensor, tensor, zeros } from '@craft-ft/torch';
import type { LanguageModel } from '../policy.js';
import type { Pi0FastModel, Prefix, Tokens } from './model.js';
import type { Pi0FastPolicy } from './policy.js';

/** The PaliGemma inside a policy, as a vision-language model. */
export function pi0FastLanguageModel({ config, model }: Pi0FastPolicy): LanguageModel {
  return {
    tokenizerName: config.text_tokenizer_name,
    imageSize: config.image_resolution,
    suffixLogProbs: (images, prefix, suffixes) =>
      noGrad(() => scope(() => sums(model, images, prefix, suffixes))),
  };
}

/**
 * ln p of every token of a suffix, given the prefix and the tokens before it. The prefix (images, language) attends to itself in
 * both directions and never to the suffix; the suffix is causal, as in PaliGemma's training.
 *
 * @param suffix `[N, T]`; padding at the end
 * @returns float32 `[N, T]`, 0 at padding
 */
export function suffixLogProbs(model: Pi0FastModel, prefix: Prefix, suffix: Tokens): Tensor {
  return noGrad(() =>
    scope(() => {
      const encoded = model.call(prefix, suffix);
      const count = suffix.ids.size(1);
      // Each position predicts the next token: the first token of the suffix comes from the last position of the prefix.
      const before = encoded.states.at(-1)!.narrow(1, encoded.prefixLength - 1, count);
      const logProbs = model.logits(model.normalise(before)).logSoftmax(-1);
      const chosen = logProbs.gather(-1, suffix.ids.unsqueeze(-1)).squeeze(-1);
      return chosen.mul(suffix.mask.to('float32'));
    }),
  );
}

function sums(
  model: Pi0FastModel,
  images: readonly Tensor[],
  prefix: readonly number[],
  suffixes: readonly (readonly number[])[],
): number[] {
  const { device } = model.paligemma.lmHead.weight;
  const rows = suffixes.length;
  const language = tensor(BigInt64Array.from(prefix, BigInt), { shape: [1, prefix.length] }).to(device);
  const longest = Math.max(...suffixes.map(({ length }) => length));
  const ids = new BigInt64Array(rows * longest);
  const mask = new Uint8Array(rows * longest);
  suffixes.forEach((suffix, row) => {
    ids.set(suffix.map(BigInt), row * longest);
    mask.fill(1, row * longest, row * longest + suffix.length);
  });
  const shape = [rows, longest];
  const logProbs = suffixLogProbs(
    model,
    {
      images: images.length === 0 ? null : seen(model, images, rows, device),
      language: {
        ids: language.expand([rows, prefix.length]),
        mask: ones([rows, prefix.length], { dtype: 'bool', device }),
      },
    },
    {
      ids: tensor(ids, { shape }).to(device),
      mask: tensor(mask, { shape, dtype: 'bool' }).to(device),
    },
  );
  return logProbs.sum([1]).tolist() as number[];
}

// The images are encoded once for all suffixes.
function seen(
  model: Pi0FastModel,
  images: readonly Tensor[],
  rows: number,
  device: string,
): Prefix['images'] {
  const features = model.imageFeatures(
    stack([...images], 0)
      .to(device)
      .unsqueeze(0),
  );
  const mask = zeros([rows, images.length], { dtype: 'bool', device }).logicalNot();
  return { features: features.expand([rows, ...features.shape.slice(1)]), mask };
}
