import { cat, multinomial, noGrad, ones, scope, type Tensor, tensor } from '@craft-ft/torch';
import { KvCache } from '../vlm/attention.js';
import type { Encoded, Pi0FastModel, Prefix } from './model.js';

interface DecodingOptions {
  /** Maximum number of tokens. */
  maxSteps: number;
  /** 0: the most likely token; above, a draw from softmax(logits / temperature). */
  temperature: number;
  /** The token after which a row is done; null: none. */
  endId: number | null;
  /** Keep keys and values between steps. Default true. */
  cache?: boolean;
  /** Receives the logits `[B, vocabulary]` of every step; they are freed afterwards. */
  onLogits?: (logits: Tensor) => void;
}

/** Computes the logits of the next token. */
interface Decoder {
  /** Logits `[B, vocabulary]` after the prefix. */
  start(): Tensor;
  /** Logits after the tokens `[B, 1]`, which follow those of the previous call. */
  next(tokens: Tensor): Tensor;
  dispose(): void;
}

/**
 * Generates action tokens one by one after a prefix that ends with BOS; each attends to everything valid before it. Stops when
 * every row has ended. Without a graph; the caller sets the evaluation mode.
 *
 * @returns `maxSteps` tokens per row, 0 after its end
 */
export function decodeTokens(model: Pi0FastModel, prefix: Prefix, options: DecodingOptions): number[][] {
  const { maxSteps, endId } = options;
  return noGrad(() =>
    scope(() => {
      const decoder = (options.cache ?? true) ? cached(model, prefix, maxSteps) : uncached(model, prefix);
      const rows: number[][] = Array.from({ length: prefix.language.ids.size(0) }, () => []);
      const ended = rows.map(() => false);
      try {
        let logits = decoder.start();
        for (let step = 0; step < maxSteps; step++) {
          options.onLogits?.(logits);
          const tokens = choose(logits, options.temperature).map((token, row) => (ended[row] ? 0 : token));
          logits.dispose();
          tokens.forEach((token, row) => {
            rows[row]!.push(token);
            ended[row] ||= token === endId;
          });
          if (step === maxSteps - 1 || ended.every(Boolean)) break;
          const { device } = prefix.language.ids;
          logits = scope(() => decoder.next(column(tokens, device)));
        }
      } finally {
        decoder.dispose();
      }
      return rows.map((row) => [...row, ...Array<number>(maxSteps - row.length).fill(0)]);
    }),
  );
}

function choose(logits: Tensor, temperature: number): number[] {
  return scope(() => {
    const chosen =
      temperature > 0 ? multinomial(logits.div(temperature).softmax(-1), 1).squeeze(1) : logits.argmax(-1);
    return Array.from(chosen.toTypedArray() as BigInt64Array, Number);
  });
}

function column(tokens: readonly number[], device: string): Tensor {
  return tensor([...tokens], { dtype: 'int64', shape: [tokens.length, 1] }).to(device);
}

function lastLogits(model: Pi0FastModel, states: readonly Tensor[]): Tensor {
  return model.logits(model.normalise(states.at(-1)!.select(1, -1)));
}

function cached(model: Pi0FastModel, prefix: Prefix, maxSteps: number): Decoder {
  const { languageModel } = model.paligemma.model;
  const [batch, language] = prefix.language.ids.shape as [number, number];
  const capacity = (prefix.images?.features.size(1) ?? 0) + language + maxSteps;
  const { dtype } = languageModel.embedTokens.weight;
  const cache = new KvCache(model.sizes.text, batch, capacity, { dtype, device: prefix.language.ids.device });
  let valid: Tensor;
  return {
    start() {
      return scope(() => {
        const encoded: Encoded = model.call(prefix, null, cache);
        // Without images this is the prefix's own mask.
        valid = encoded.valid.clone().keep();
        return lastLogits(model, encoded.states);
      });
    },
    next(tokens) {
      const longer = cat([valid, ones([batch, 1], { dtype: 'bool', device: tokens.device })], 1).keep();
      valid.dispose();
      valid = longer;
      const positions = valid.sum([1], true).sub(1);
      const x = languageModel.embed(tokens);
      return lastLogits(model, languageModel.call(x, positions, valid.unsqueeze(1), { cache }));
    },
    dispose() {
      cache.dispose();
      valid?.dispose();
    },
  };
}

/** Recomputes the whole sequence at each step, as a check of the cache and for devices without memory for it. */
function uncached(model: Pi0FastModel, prefix: Prefix): Decoder {
  let generated: Tensor | null = null;
  const logits = (): Tensor => {
    const mask =
      generated === null ? null : ones(generated.shape, { dtype: 'bool', device: generated.device });
    return lastLogits(model, model.call(prefix, mask === null ? null : { ids: generated!, mask }).states);
  };
  return {
    start: () => scope(logits),
    next(tokens) {
      const longer = generated === null ? tokens.clone() : cat([generated, tokens], 1);
      generated?.dispose();
      generated = longer.keep();
      return logits();
    },
    dispose: () => generated?.dispose(),
  };
}
