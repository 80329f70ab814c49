import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  manualSeed,
  memory,
  noGrad,
  ones,
  rand,
  safetensors,
  scope,
  type Tensor,
  tensor,
} from '@craft-ft/torch';
import { afterAll, describe, expect, test } from 'vitest';
import { thrown } from '../../../datasets/test/thrown.js';
import { CAMERAS, smallBatch, smallConfig, smallFast } from '../../test/pi0-fast-small.js';
import { loadPolicy, makePolicy } from '../pretrained.js';
import { decodeTokens } from './decoding.js';
import { type ActionDetokenizer, Pi0FastPolicy } from './policy.js';

const folder = mkdtempSync(join(tmpdir(), 'pi0-fast-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const largest = (a: Tensor, b: Tensor) => a.to('float32').sub(b.to('float32')).abs().max().item() as number;

function policyOf(changes: object = {}): Pi0FastPolicy {
  manualSeed(5);
  return new Pi0FastPolicy(smallConfig(changes));
}

/** Notes what it is asked and answers with the row's number. */
class FakeDetokenizer implements ActionDetokenizer {
  readonly bosId = 2;
  readonly endId = 128;
  readonly asked: [tokens: readonly number[], steps: number, dimensions: number][] = [];
  decode(tokens: readonly number[], steps: number, dimensions: number) {
    this.asked.push([tokens, steps, dimensions]);
    const actions = Array.from({ length: steps }, (_, t) => Array<number>(dimensions).fill(t));
    return { actions, problem: null };
  }
}

describe('actions', () => {
  test('are decoded with chunk_size and handed out n_action_steps at a time', () => {
    const policy = policyOf();
    const detokenizer = new FakeDetokenizer();
    policy.useDetokenizer(detokenizer);
    const batch = smallBatch();
    expect(policy.predictActionChunk(batch).shape).toEqual([2, 4, 2]);
    expect(detokenizer.asked.map(([tokens, ...shape]) => [tokens.length, ...shape])).toEqual([
      [8, 4, 2],
      [8, 4, 2],
    ]);
    const steps = Array.from({ length: 4 }, () => policy.selectAction(batch).tolist());
    const at = (t: number) => [
      [t, t],
      [t, t],
    ];
    expect(steps).toEqual([at(0), at(1), at(2), at(0)]);
    expect(policy.queuedActions).toBe(2);
    policy.reset();
    expect(policy.queuedActions).toBe(0);
    expect(policy.selectAction(batch).tolist()).toEqual(at(0));
    expect(policy.training).toBe(true);
  });

  test('malformed tokens give zeros, not a crash', () => {
    const fast = smallFast(folder);
    const policy = policyOf({ action_tokenizer_name: fast, temperature: 5 });
    const warnings: string[] = [];
    policy.onWarning = (line) => warnings.push(line);
    expect(policy.predictActionChunk(smallBatch()).abs().max().item()).toBe(0);
    expect(warnings).toEqual([expect.stringContaining('do not begin with "Action:"')]);
    const lax = policyOf({
      action_tokenizer_name: fast,
      temperature: 5,
      validate_action_token_prefix: false,
    });
    lax.onWarning = () => {};
    expect(Boolean(lax.predictActionChunk(smallBatch()).isfinite().all().item())).toBe(true);
  });

  test('temperature: the seed decides, with and without cache alike', () => {
    const batch = smallBatch();
    const draw = (seed: number, use_kv_cache: boolean) => {
      const policy = policyOf({ temperature: 1, use_kv_cache });
      policy.useDetokenizer(new FakeDetokenizer());
      manualSeed(seed);
      return policy.generateTokens(batch);
    };
    expect(draw(1, true)).toEqual(draw(1, true));
    expect(draw(1, true)).toEqual(draw(1, false));
    expect(draw(1, true)).not.toEqual(draw(2, true));
  });

  test('a tokeniser that is too large for the variant is refused', () => {
    const policy = policyOf({ text_tokenizer_name: 'builtin:bytes:5000' });
    expect(thrown(() => policy.predictActionChunk(smallBatch())).code).toBe('TOKENIZER_VOCAB_TOO_LARGE');
  });
});

describe('cameras', () => {
  const final = (policy: Pi0FastPolicy, batch: Record<string, Tensor>) =>
    noGrad(() => policy.hiddenStates(batch).layers.at(-1)!);

  test('one that is missing keeps its place, masked', () => {
    const policy = policyOf();
    const { [CAMERAS[0]]: _, ...rest } = smallBatch();
    const { mask, image } = policy.hiddenStates(rest);
    expect(image).toEqual({ start: 0, length: 8 });
    expect(mask.narrow(1, 0, 8).to('float32').tolist()).toEqual(Array(2).fill([0, 0, 0, 0, 1, 1, 1, 1]));
    const padded = { ...rest, [CAMERAS[0]]: rand([2, 3, 28, 28]), [`${CAMERAS[0]}_is_pad`]: ones([2]).gt(0) };
    const last = (batch: Record<string, Tensor>) => final(policy, batch).select(1, -1);
    expect(largest(last(rest), last(padded))).toBeLessThan(1e-5);
  });

  test('empty ones come last', () => {
    const { mask } = policyOf({ empty_cameras: 1 }).hiddenStates(smallBatch());
    expect(mask.select(0, 0).narrow(0, 0, 12).to('int32').tolist()).toEqual([
      1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0,
    ]);
  });

  test('uint8 images are scaled, larger ones resized', () => {
    const policy = policyOf();
    const batch = smallBatch();
    const bytes = batch[CAMERAS[0]]!.mul(255).round();
    const asBytes = { ...batch, [CAMERAS[0]]: bytes.to('uint8') };
    const asFloats = { ...batch, [CAMERAS[0]]: bytes.div(255) };
    expect(largest(final(policy, asBytes), final(policy, asFloats))).toBe(0);
    expect(
      policy
        .call({ ...batch, [CAMERAS[1]]: rand([2, 3, 40, 61]) })
        .loss.isfinite()
        .item(),
    ).toBeTruthy();
  });

  test('none at all is a policy of text alone', () => {
    const policy = policyOf({ input_features: {} });
    expect(policy.hiddenStates(smallBatch()).image.length).toBe(0);
    expect(policy.call(smallBatch()).loss.item()).toBeGreaterThan(0);
    const language = {
      ids: smallBatch()['observation.language.tokens']!,
      mask: ones([2, 9]).gt(0),
    };
    const decode = (cache: boolean) =>
      decodeTokens(
        policy.model,
        { images: null, language },
        { maxSteps: 3, temperature: 0, endId: null, cache },
      );
    expect([decode(true), decode(true)]).toEqual([decode(false), decode(false)]);
  });
});

describe('loss', () => {
  test('is 0 where no token counts', () => {
    const policy = policyOf();
    const { loss, metrics } = policy.call({
      ...smallBatch(),
      'action.token_mask': ones([2, 10]).lt(0),
    });
    expect(loss.item()).toBe(0);
    expect((metrics.token_accuracy as Tensor).item()).toBe(0);
    loss.backward();
  });

  test('counts tokens over the batch, not rows', () => {
    const policy = policyOf();
    const batch = smallBatch();
    const rows = [0, 1].map((row) => {
      const one = Object.entries(batch).map(([key, values]) => [key, values.narrow(0, row, 1)]);
      return policy.call(Object.fromEntries(one)).loss.item() as number;
    }) as [number, number];
    const together = policy.call(batch).loss.item() as number;
    expect(together).toBeCloseTo((9 * rows[0] + 6 * rows[1]) / 15, 4);
  });

  test('falls when trained, and leaves no tensors behind', () => {
    const policy = policyOf();
    const batch = smallBatch();
    const step = () =>
      scope(() => {
        const { loss } = policy.call(batch);
        loss.backward();
        noGrad(() => {
          for (const parameter of policy.parameters()) {
            if (parameter.grad === null) continue;
            parameter.sub_(parameter.grad.mul(0.1));
            parameter.grad = null;
          }
        });
        return loss.item() as number;
      });
    const first = step();
    step();
    const { tensors } = memory();
    let last = first;
    for (let i = 0; i < 6; i++) last = step();
    expect(last).toBeLessThan(first);
    policy.useDetokenizer(new FakeDetokenizer());
    scope(() => {
      policy.predictActionChunk(batch);
    });
    expect(memory().tensors).toBe(tensors);
  });
});

describe('bfloat16', () => {
  test("keeps LeRobot's selection in float32", () => {
    const policy = policyOf({ dtype: 'bfloat16' });
    for (const [name, parameter] of policy.namedParameters()) {
      const wide = /vision_tower|layernorm|language_model\.norm/.test(name);
      expect([name, parameter.dtype]).toEqual([name, wide ? 'float32' : 'bfloat16']);
    }
  });

  test('is close to float32', () => {
    const [narrow, wide] = [policyOf({ dtype: 'bfloat16' }), policyOf()];
    wide.loadStateDict(narrow.stateDict());
    const batch = smallBatch();
    const run = (policy: Pi0FastPolicy) => {
      const { loss } = policy.call(batch);
      loss.backward();
      return [loss.item() as number, policy.model.paligemma.lmHead.weight.grad!] as const;
    };
    const [[loss, grad], [expected, expectedGrad]] = [run(narrow), run(wide)];
    expect(Math.abs(loss / expected - 1)).toBeLessThan(0.01);
    expect(largest(grad, expectedGrad)).toBeLessThan(0.03 * (expectedGrad.abs().max().item() as number));
    const last = (policy: Pi0FastPolicy) => noGrad(() => policy.hiddenStates(batch).layers.at(-1)!);
    expect(largest(last(narrow), last(wide))).toBeLessThan(0.1);
    narrow.useDetokenizer(new FakeDetokenizer());
    expect(narrow.generateTokens(batch)[0]).toHaveLength(8);
  });
});

describe('bad input', () => {
  const LANGUAGE = 'observation.language.tokens';

  test.each([
    ['observation.language.tokens', undefined],
    ['observation.language.attention_mask', undefined],
    ['action.tokens', undefined],
    ['action.token_mask', undefined],
    [LANGUAGE, [2, 13]],
    ['action.tokens', [2, 17]],
    [LANGUAGE, [2, 5]],
    [LANGUAGE, [9]],
    [CAMERAS[0], [2, 28, 28, 3]],
  ])('%s of shape %o is named', (key, shape) => {
    const { [key]: _, ...batch } = smallBatch();
    if (shape !== undefined) batch[key] = ones(shape).to('int64');
    const error = thrown(() => policyOf().call(batch));
    expect(error.code).toBe('POLICY_INPUT');
    expect(error.message).toContain(`"${key}"`);
  });

  test('ids beyond the vocabulary and a batch without cameras are refused', () => {
    const beyond = {
      ...smallBatch(),
      [LANGUAGE]: tensor([[4096], [1]], { dtype: 'int64' }),
      'observation.language.attention_mask': ones([2, 1]).gt(0),
    };
    expect(thrown(() => policyOf().call(beyond)).message).toContain('4096');
    const { [CAMERAS[0]]: _, [CAMERAS[1]]: __, ...blind } = smallBatch();
    expect(thrown(() => policyOf().call(blind)).message).toContain(CAMERAS[0]);
  });

  test('a policy without an action, or with an image of one, is refused', () => {
    expect(thrown(() => policyOf({ output_features: {} })).code).toBe('POLICY_FEATURES');
    const output_features = { action: { type: 'ACTION', shape: [2, 2] } };
    expect(thrown(() => policyOf({ output_features })).code).toBe('POLICY_FEATURES');
  });
});

describe('checkpoints', () => {
  test('round trip, in both dtypes', () => {
    const saved = policyOf({ dtype: 'bfloat16' });
    safetensors.saveFile(join(folder, 'model.safetensors'), saved.stateDict());
    const batch = smallBatch();
    for (const dtype of ['bfloat16', 'float32']) {
      const loaded = loadPolicy(folder, smallConfig({ dtype }));
      const [found, expected] = [loaded.call(batch).loss.item(), saved.call(batch).loss.item()] as number[];
      if (dtype === 'bfloat16') expect(found).toBe(expected);
      else expect(found).toBeCloseTo(expected!, 1);
    }
  });

  test("another variant's is refused", () => {
    const error = thrown(() => loadPolicy(folder, smallConfig({ image_resolution: [56, 56] })));
    expect(error.code).toBe('STATE_DICT_MISMATCH');
    expect(error.message).toContain('position_embedding');
  });

  test('makePolicy makes it, decided by the seed', () => {
    const make = () => {
      manualSeed(9);
      return makePolicy(smallConfig());
    };
    const [first, second] = [make(), make()];
    expect(first).toBeInstanceOf(Pi0FastPolicy);
    first.namedParameters().forEach(([, parameter], i) => {
      expect(parameter.equal(second.parameters()[i]!)).toBe(true);
    });
  });
});
