import { CraftError } from '@craft-ft/torch';
import type { Policy } from '../policy.js';
import { LoraAdapter } from './adapter.js';
import { type LoraSettings, layerScale } from './settings.js';
import { findFullyTrained, findTargets, type LoraTarget } from './targets.js';

/** A layer and its adapter. */
export interface LoraLayer extends LoraTarget {
  adapter: LoraAdapter;
}

/** The adapters of a policy. */
export interface AttachedLora {
  readonly settings: LoraSettings;
  readonly layers: readonly LoraLayer[];
  /** Names of the modules that are trained in full. */
  readonly fullyTrained: readonly string[];
}

const attached = new WeakMap<Policy, AttachedLora>();

/** The adapters that {@link attachLora} gave to a policy, or null. */
export function attachedLora(policy: Policy): AttachedLora | null {
  return attached.get(policy) ?? null;
}

/**
 * Gives linear layers of a policy adapters and freezes everything else: from then on `parameterGroups` holds the adapters (and what is
 * trained in full), and so do gradients, optimiser, CRaFT's surgery and checkpoints. The output is the same as before until the
 * first step. Random numbers are drawn for every adapter, in the order of the layers.
 *
 * @throws CraftError `LORA_TARGETS` where the settings do not fit the policy; `LORA_ATTACHED` where it has adapters already
 *
 * @example
 * ```ts
 * attachLora(policy, loraSettings(config.peft, config.policy.type, '/path/of/the/base'));
 * policy.parameterGroups()[0].parameters.map(([name]) => name); // […, 'model.….q_proj.adapter.lora_A.weight', …]
 * ```
 */
export function attachLora(policy: Policy, settings: LoraSettings): AttachedLora {
  if (attached.has(policy)) {
    throw new CraftError(
      'LORA_ATTACHED',
      'the policy has adapters already; merge them into it first (craft export)',
    );
  }
  const targets = findTargets(policy, settings);
  const full = findFullyTrained(policy, settings.modulesToSave);
  policy.requiresGrad_(false);
  for (const [, module] of full) module.requiresGrad_(true);
  const layers = targets.map(({ name, layer }): LoraLayer => {
    const adapter = new LoraAdapter(layer, {
      ...layerScale(settings, name),
      dropout: settings.loraDropout,
      init: settings.init,
    });
    layer.adapter = adapter;
    adapter.train(policy.training);
    return { name, layer, adapter };
  });
  const result = { settings, layers, fullyTrained: full.map(([name]) => name) };
  attached.set(policy, result);
  return result;
}

/** Takes the adapters off again; the layers' own weights stay as they are. */
export function detachLora(policy: Policy): void {
  for (const { layer, adapter } of attached.get(policy)?.layers ?? []) {
    layer.adapter = null;
    adapter.dispose();
  }
  attached.delete(policy);
}
