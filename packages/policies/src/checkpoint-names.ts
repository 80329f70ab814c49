import type { safetensors } from '@craft-ft/torch';
import { renamePi0FastKey } from './pi0_fast/rename-keys.js';
import type { PolicyType } from './registry.js';
import { VARIANT_SIZES } from './vlm/paligemma.js';

/** Policies whose checkpoints were written under other names too, with the names as `nn.loadCheckpoint` takes them. */
const RENAMES: { [T in PolicyType]?: (name: string) => readonly string[] } = { pi0_fast: renamePi0FastKey };

/** Where a tensor of a checkpoint belongs in a policy of this type: its first name, and others it fills in for. */
export function checkpointNames(type: PolicyType, name: string): readonly string[] {
  return RENAMES[type]?.(name) ?? [name];
}

const GATE = /(^|\.)language_model\.layers\.0\.mlp\.gate_proj\.weight$/;

/** What a checkpoint's shapes say about its size, such as `paligemma_variant=gemma_300m`; null where they say nothing. */
export function checkpointVariant(type: PolicyType, file: safetensors.TensorSource): string | null {
  const name = type === 'pi0_fast' ? file.names.find((one) => GATE.test(one)) : undefined;
  if (name === undefined) return null;
  const [mlpDim, width] = file.info(name).shape;
  const found = Object.entries(VARIANT_SIZES).find(
    ([, { text }]) => text.mlpDim === mlpDim && text.width === width,
  );
  return found === undefined ? null : `paligemma_variant=${found[0]}`;
}
