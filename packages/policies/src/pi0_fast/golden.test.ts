import { nn, noGrad, scope, type Tensor } from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import { type Values, values } from '../../test/act-golden.js';
import {
  CASES,
  difference,
  GOLDEN_PI0_FAST,
  goldenImages,
  loadCase,
  loadValues,
  readGoldenJson,
  tinyPolicy,
} from '../../test/pi0-fast-golden.js';
import { rotations } from '../vlm/gemma.js';
import { decodeTokens } from './decoding.js';
import type { Encoded, Pi0FastModel, Prefix } from './model.js';
import type { Pi0FastPolicy } from './policy.js';

interface Decoded {
  max_decoding_steps: number;
  tokens_no_cache: number[][];
  tokens_kv_cache: number[][];
  early_stop_row0: { end_of_action_id: number; tokens_kv_cache: number[][] };
}

function close(kind: string, found: Tensor | Values, expected: Values | undefined, bound: number): void {
  expect(difference(found, expected!), kind).toBeLessThan(bound);
}

function relativeToMax(found: Tensor, expected: Values): number {
  const largest = expected.data.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  return difference(found, expected) / largest;
}

// The network's inputs, which the policy's own methods make of a batch.
type Inside = { prefix(batch: object): Prefix; prefixWithBos(batch: object): Prefix };
const inside = (policy: Pi0FastPolicy) => policy as unknown as Inside;

function encode(policy: Pi0FastPolicy, batch: Record<string, Tensor>): Encoded {
  const actions = { ids: batch['action.tokens']!, mask: batch['action.token_mask']! };
  return policy.model.call(inside(policy).prefix(batch), actions);
}

function visionStages(model: Pi0FastModel, images: Tensor): [string, Tensor][] {
  const { visionModel } = model.paligemma.model.visionTower;
  let x = visionModel.embeddings.call(images);
  const stages: [string, Tensor][] = [['embeddings', x]];
  [...visionModel.encoder.layers].forEach((layer, i) => {
    x = layer.call(x);
    stages.push([`layer.${i}`, x]);
  });
  return [...stages, ['post_layernorm', visionModel.postLayernorm.call(x)]];
}

for (const name of CASES) {
  describe.skipIf(GOLDEN_PI0_FAST === null)(`pi0_fast equals LeRobot's: ${name}`, () => {
    const golden = GOLDEN_PI0_FAST === null ? null! : loadCase(name);

    test('vision tower and projector', () => {
      const { policy, batch, expected } = golden;
      noGrad(() =>
        scope(() => {
          const images = goldenImages(batch);
          for (let camera = 0; camera < images.size(1); camera++) {
            for (const [stage, found] of visionStages(policy.model, images.select(1, camera)))
              close('vision', found, expected.get(`out.vision.${stage}.cam${camera}`), 5e-5);
          }
          const features = policy.model.imageFeatures(images).chunk(images.size(1), 1);
          features.forEach((part, camera) => {
            close('image features', part, expected.get(`out.image_features.cam${camera}`), 5e-5);
          });
        }),
      );
    });

    test('embeddings, masks, positions, hidden states, logits', () => {
      const { policy, batch, expected } = golden;
      noGrad(() =>
        scope(() => {
          const encoded = encode(policy, batch);
          close('masks', encoded.valid.to('float32'), expected.get('out.pad_masks'), 1e-9);
          close('masks', encoded.allowed.to('float32'), expected.get('out.att_2d_masks'), 1e-9);
          close('positions', encoded.positions.to('float32'), expected.get('out.position_ids'), 1e-9);
          const { cos, sin } = rotations(encoded.positions, 16, 'float32');
          const doubled = (half: Tensor) => half.squeeze(2).repeat([1, 1, 2]);
          close('rope', doubled(cos), expected.get('out.rope_cos'), 1e-5);
          close('rope', doubled(sin), expected.get('out.rope_sin'), 1e-5);
          close('embeddings', encoded.states[0]!, expected.get('out.prefix_embs'), 5e-5);
          const last = encoded.states.length - 1;
          encoded.states.slice(0, -1).forEach((state, i) => {
            close('hidden states', state, expected.get(`out.hidden_states.${i}`), 1e-4);
          });
          close('hidden states', encoded.states[last]!, expected.get('out.last_layer_before_norm'), 1e-4);
          const final = policy.model.normalise(encoded.states[last]!);
          close('final hidden states', final, expected.get(`out.hidden_states.${last}`), 5e-5);
          const actions = final.narrow(1, encoded.prefixLength, final.size(1) - encoded.prefixLength);
          const logits = policy.model.logits(actions);
          close('logits', logits, expected.get('out.action_logits'), 5e-5);
          const count = actions.size(1) - 1;
          const ce = nn.functional.crossEntropy(
            logits.narrow(1, 0, count).transpose(1, 2),
            batch['action.tokens']!.narrow(1, 1, count),
            { reduction: 'none' },
          );
          close('cross-entropy', ce, expected.get('out.ce_per_token'), 2e-5);
        }),
      );
    });

    for (const checkpointing of [false, true]) {
      test(`loss and every gradient${checkpointing ? ' with gradient checkpointing' : ''}`, () => {
        const { policy, batch, expected } = checkpointing
          ? loadCase(name, { gradient_checkpointing: true })
          : golden;
        const grads = loadValues(`${name}.grads`);
        policy.train();
        const { loss } = policy.call(batch);
        close('loss', loss.reshape([1]), expected.get('out.loss'), 1e-5);
        loss.backward();
        const names = policy.namedParameters().map(([parameter]) => parameter);
        expect(names.toSorted()).toEqual([...grads.keys()].toSorted());
        for (const [parameter, { grad }] of policy.namedParameters()) {
          const error = difference(grad!, grads.get(parameter)!);
          if (error > 2e-5) expect(relativeToMax(grad!, grads.get(parameter)!), parameter).toBeLessThan(1e-4);
        }
        for (const parameter of policy.parameters()) parameter.grad = null;
      });
    }

    for (const cache of [true, false]) {
      test(`greedy decoding ${cache ? 'with' : 'without'} cache`, () => {
        const { policy, batch } = golden;
        const decoded = readGoldenJson<Record<string, Decoded>>('decode')[name]!;
        const logits = loadValues(`${name}.decode_logits`).get('step_logits')!;
        const maxSteps = decoded.max_decoding_steps;
        const prefix = scope(() => noGrad(() => keepPrefix(inside(policy).prefixWithBos(batch))));
        const steps: Values[] = [];
        const options = { maxSteps, temperature: 0, cache, endId: null };
        const tokens = decodeTokens(policy.model, prefix, {
          ...options,
          onLogits: (step) => steps.push(values(step)),
        });
        expect(tokens).toEqual(decoded.tokens_kv_cache);
        expect(tokens).toEqual(decoded.tokens_no_cache);
        steps.forEach(({ data, shape: [rows, vocabulary] }, step) => {
          data.forEach((value, i) => {
            const row = Math.floor(i / vocabulary!);
            const wanted = logits.data[(row * maxSteps + step) * vocabulary! + (i % vocabulary!)]!;
            if (Math.abs(value - wanted) > 5e-5) expect([step, row, value]).toEqual([step, row, wanted]);
          });
          expect(rows).toBe(tokens.length);
        });
        const { end_of_action_id: endId, tokens_kv_cache: stopped } = decoded.early_stop_row0;
        const first = firstRow(prefix);
        expect(decodeTokens(policy.model, first, { ...options, endId })).toEqual(stopped);
        // In a batch, rows that have ended are padded until all have.
        const together = decodeTokens(policy.model, prefix, { ...options, endId });
        expect(together[0]).toEqual(stopped[0]);
      });
    }

    test('hidden states of the prefix', () => {
      const { policy, batch } = golden;
      const expected = loadValues(`${name}.pooling`);
      const { layers, mask, image } = noGrad(() => policy.hiddenStates(batch));
      layers.forEach((layer, i) => {
        const last = i === layers.length - 1;
        close('prefix hidden states', layer, expected.get(`hidden_states.${i}`), last ? 5e-5 : 1e-4);
      });
      close('masks', mask.to('float32'), expected.get('pad_masks'), 1e-9);
      const { pooling } =
        readGoldenJson<Record<string, { pooling: { num_image_tokens: number } }>>('decode')[name]!;
      expect(image).toEqual({ start: 0, length: pooling.num_image_tokens });
      for (const [index, layer] of [
        [-1, layers.at(-1)!],
        [-2, layers.at(-2)!],
        [0, layers[0]!],
      ] as const) {
        const images = layer.narrow(1, image.start, image.length);
        close('pooled', images.mean([1]), expected.get(`pool.layer_${index}.mean_image_tokens`), 1e-4);
        const weights = mask.to('float32').unsqueeze(-1);
        const masked = layer
          .mul(weights)
          .sum([1])
          .div(weights.sum([1]));
        close('pooled', masked, expected.get(`pool.layer_${index}.mean_masked`), 1e-4);
        close('pooled', layer.select(1, -1), expected.get(`pool.layer_${index}.last_token`), 1e-4);
      }
    });
  });
}

describe.skipIf(GOLDEN_PI0_FAST === null)('a checkpoint with a head only', () => {
  test('fills the embeddings from the head; the two are trained apart', () => {
    const [name] = CASES;
    const { policy, batch } = loadCase(name, {}, 'model_lm_head_only');
    const expected = loadValues(`${name}.tied`);
    const encoded = encode(policy, batch);
    close('embeddings', encoded.states[0]!, expected.get('out.prefix_embs'), 5e-5);
    const last = policy.model.normalise(encoded.states.at(-1)!);
    close('final hidden states', last, expected.get('out.last_hidden_state'), 5e-5);
    const { loss } = policy.call(batch);
    close('loss', loss.reshape([1]), expected.get('out.loss'), 1e-5);
    loss.backward();
    const { lmHead, model } = policy.model.paligemma;
    close('gradients', lmHead.weight.grad!, expected.get('grad.lm_head_untied'), 2e-5);
    const { embedTokens } = model.languageModel;
    close('gradients', embedTokens.weight.grad!, expected.get('grad.embed_tokens_untied'), 2e-5);
  });
});

test.skipIf(GOLDEN_PI0_FAST === null)('state dict names are those of the golden checkpoint', () => {
  expect([...tinyPolicy(1).stateDict().keys()].toSorted()).toEqual(
    [...loadValues('model').keys()].toSorted(),
  );
});

function keepPrefix({ images, language }: Prefix): Prefix {
  for (const tensor of [images?.features, images?.mask, language.ids, language.mask]) tensor?.keep();
  return { images, language };
}

function firstRow({ images, language }: Prefix): Prefix {
  const first = (tensor: Tensor) => tensor.narrow(0, 0, 1);
  return {
    images: images === null ? null : { features: first(images.features), mask: first(images.mask) },
    language: { ids: first(language.ids), mask: first(language.mask) },
  };
}
