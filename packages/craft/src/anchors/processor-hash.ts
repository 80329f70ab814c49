import { createHash } from 'node:crypto';
import type { PolicyProcessors, ProcessorStep } from '@craft-ft/policies';
import { noGrad, scope, type Tensor } from '@craft-ft/torch';

/** Steps that change a batch's device or keys, but no values. */
const NEUTRAL = new Set(['rename_observations_processor', 'to_batch_processor', 'device_processor']);

/**
 * A hash of each step of a preprocessor that changes what the policy sees: statistics, normalisation modes, tokenisers, prompts. Two
 * processors with equal hashes produce the same inputs from the same sample, on any device.
 *
 * @returns hexadecimal SHA-256 by the step's name, in order
 */
export function processorHashes({ preprocessor }: PolicyProcessors): Record<string, string> {
  const hashes: Record<string, string> = {};
  for (const step of preprocessor.steps) {
    if (NEUTRAL.has(step.registryName)) continue;
    let name = step.registryName;
    for (let i = 2; Object.hasOwn(hashes, name); i++) name = `${step.registryName} ${i}`;
    hashes[name] = stepHash(step);
  }
  return hashes;
}

function stepHash(step: ProcessorStep): string {
  const hash = createHash('sha256');
  const config = step.config();
  hash.update(JSON.stringify(sorted(config)));
  const used = isRecord(config.features) ? Object.keys(config.features) : null;
  const state = [...(step.state() ?? [])].filter(([name]) => isUsed(name, used));
  for (const [name, tensor] of state.sort(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(`\n${name}\n`).update(values(tensor));
  }
  return hash.digest('hex');
}

// A dataset's statistics also cover columns that the policy never sees, and say how many frames there were.
function isUsed(name: string, features: readonly string[] | null): boolean {
  if (features === null) return true;
  const dot = name.lastIndexOf('.');
  return name.slice(dot + 1) !== 'count' && features.includes(name.slice(0, dot));
}

function values(tensor: Tensor): Uint8Array {
  return scope(() =>
    noGrad(() => {
      const array = tensor.to({ dtype: 'float32', device: 'cpu' }).toTypedArray();
      return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    }),
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The same value with the keys of every object in order. */
export function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isRecord(value)) return value;
  const keys = Object.keys(value).sort();
  return Object.fromEntries(keys.map((key) => [key, sorted(value[key])]));
}

/** SHA-256 of a value as JSON, independent of key order. */
export function hashJson(value: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(sorted(value)))
    .digest('hex');
}
