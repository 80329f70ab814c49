import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { noGrad, randn, scope } from '@craft-ft/torch';
import { afterAll, describe, expect, it } from 'vitest';
import { GOLDEN_PI0_FAST, loadCase } from '../../test/pi0-fast-golden.js';
import { attachLora, mergeLora } from './attach.js';
import { loraSettings, peftConfigSchema } from './config.js';
import { loadAdapters, saveAdapters } from './files.js';

const folder = mkdtempSync(join(tmpdir(), 'lora-pi0-fast-'));
afterAll(() => rmSync(folder, { recursive: true }));

const settings = (fields: object = {}) =>
  loraSettings(peftConfigSchema.parse({ r: 4, lora_alpha: 8, ...fields }), 'pi0_fast', '/base');

describe.skipIf(GOLDEN_PI0_FAST === null)('adapters of pi0_fast', () => {
  function disturbed(fields: object = {}, changes: object = {}) {
    const golden = loadCase('case1_one_camera', changes);
    const lora = attachLora(golden.policy, settings(fields));
    noGrad(() => {
      for (const { adapter } of lora.layers)
        adapter.lora_B.weight.copy_(randn(adapter.lora_B.weight.shape).mul(0.1));
    });
    return { ...golden, lora };
  }

  it("are on the decoder's queries and values by default", () => {
    const { lora } = disturbed();
    expect(lora.layers.map(({ name }) => name.replace(/^.*language_model\./, ''))).toEqual(
      [0, 1, 2].flatMap((i) => [`layers.${i}.self_attn.q_proj`, `layers.${i}.self_attn.v_proj`]),
    );
  });

  for (const checkpointing of [false, true]) {
    it(`on every linear layer are reached by gradients, and nothing else is, checkpointing ${checkpointing}`, () => {
      const { policy, batch, lora } = disturbed(
        { target_modules: 'all-linear' },
        { gradient_checkpointing: checkpointing },
      );
      expect(lora.layers).toHaveLength(2 * 6 + 1 + 3 * 7);
      policy.call(batch).loss.backward();
      for (const [name, parameter] of policy.namedParameters()) {
        const moved = parameter.grad !== null && Number(parameter.grad.abs().sum().item()) > 0;
        expect([name, moved]).toEqual([name, name.includes('.adapter.')]);
      }
    });
  }

  it('merged give the same loss and tokens', () => {
    const { policy, batch, lora } = disturbed({ target_modules: 'all-linear' });
    const loss = () => scope(() => Number(policy.call(batch).loss.item()));
    const before = loss();
    const plain = Number(loadCase('case1_one_camera').policy.call(batch).loss.item());
    expect(Math.abs(before - plain)).toBeGreaterThan(1e-3);
    expect(lora.layers.length).toBeGreaterThan(0);
    mergeLora(policy);
    expect(loss()).toBeCloseTo(before, 5);
  });

  it('come back from their files', () => {
    const { policy, batch, lora } = disturbed({ target_modules: 'all-linear' });
    saveAdapters(policy, lora, folder);
    const again = loadCase('case1_one_camera').policy;
    loadAdapters(again, folder);
    expect(again.call(batch).loss.item()).toBe(policy.call(batch).loss.item());
  });
});
