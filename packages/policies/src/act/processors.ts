import type { PlainObject } from '@craft-ft/datasets/json';
import { tensor } from '@craft-ft/torch';
import { z } from 'zod';
import { DeviceStep, RenameStep, ToBatchStep } from '../processors/basic-steps.js';
import { readStepConfig, type SavedStep } from '../processors/load.js';
import { NormalizerStep, UnnormalizerStep } from '../processors/normalizer.js';
import { PolicyProcessors, ProcessorPipeline } from '../processors/pipeline.js';
import type { StatTensors } from '../processors/stats.js';
import type { ProcessorStep, TensorBatch, Texts } from '../processors/step.js';
import { textsOf } from '../processors/step.js';
import type { MakeProcessorsOptions } from '../registration.js';
import type { ActConfig } from './configuration.js';

/**
 * ACT's processors: rename, to batch, device, normalise; back: unnormalise, to the CPU (`processor_act.py:
 * make_act_pre_post_processors`). With `task_embedding_dim` the instruction is embedded too.
 */
export function makeActProcessors(
  config: ActConfig,
  stats: StatTensors,
  { device, renameMap, where }: MakeProcessorsOptions,
): PolicyProcessors {
  const { input_features: inputs, output_features: outputs, normalization_mapping: normMap } = config;
  const dim = config.task_embedding_dim;
  return new PolicyProcessors(
    new ProcessorPipeline('policy_preprocessor', [
      new RenameStep(renameMap),
      new ToBatchStep(),
      ...(dim > 0 ? [new TaskEmbeddingStep(dim)] : []),
      new DeviceStep(device),
      new NormalizerStep({ features: { ...inputs, ...outputs }, normMap, stats, where }),
    ]),
    new ProcessorPipeline('policy_postprocessor', [
      new UnnormalizerStep({ features: outputs, normMap, stats, where }),
      new DeviceStep('cpu'),
    ]),
  );
}

/** Name of {@link TaskEmbeddingStep} in files. */
export const TASK_EMBEDDING_STEP = 'craft_task_embedding_processor';

/** Builds {@link TaskEmbeddingStep} from its entry in a file. */
export function readTaskEmbeddingStep(saved: SavedStep): TaskEmbeddingStep {
  return new TaskEmbeddingStep(readStepConfig(z.looseObject({ dim: z.int().min(1) }), saved).dim);
}

/** Key of the embedded instructions. */
export const TASK_EMBEDDING = 'observation.task_embedding';

/**
 * A fixed embedding of an instruction, of norm √dim: half of it for the words, half for the sentence as a whole, each hashed to a
 * random vector. Instructions that share words are close to each other, no two are alike, and a new instruction needs no new table
 * entry. Case and punctuation are ignored.
 *
 * @example
 * ```ts
 * embedTask('Put the cube in the red bin', 64).length; // 64
 * ```
 */
export function embedTask(task: string, dim: number): Float32Array {
  const words = task.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  const sum = new Float64Array(dim);
  for (const word of words) addHashed(sum, word, 1 / Math.sqrt(words.length));
  addHashed(sum, words.join(' '), 1);
  const length = Math.hypot(...sum);
  return Float32Array.from(sum, (value) => (value / length) * Math.sqrt(dim));
}

// A vector of ±1 determined by the text: FNV-1a seeds a xorshift generator.
function addHashed(sum: Float64Array, text: string, weight: number): void {
  let state = 0x811c9dc5;
  for (const byte of Buffer.from(text)) state = Math.imul(state ^ byte, 0x01000193);
  state = state === 0 ? 1 : state;
  for (let i = 0; i < sum.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    sum[i]! += state < 0 ? -weight : weight;
  }
}

/** Adds `observation.task_embedding` (float32, `[B, dim]`), the embedded instructions. An extension: LeRobot has no such step. */
class TaskEmbeddingStep implements ProcessorStep {
  readonly registryName = TASK_EMBEDDING_STEP;
  readonly #known = new Map<string, Float32Array>();

  constructor(private readonly dim: number) {}

  /** @throws CraftError `PROCESSOR_TASK` without instructions or with too few */
  process(batch: TensorBatch, texts: Texts): TensorBatch {
    const rows =
      Object.values(batch)
        .find(({ ndim }) => ndim > 0)
        ?.size(0) ?? 1;
    const values = new Float32Array(rows * this.dim);
    textsOf(texts, 'task', rows).forEach((task, row) => {
      values.set(this.#embed(task), row * this.dim);
    });
    return { ...batch, [TASK_EMBEDDING]: tensor(values, { shape: [rows, this.dim] }) };
  }

  // There are few instructions, and every batch repeats them.
  #embed(task: string): Float32Array {
    const found = this.#known.get(task) ?? embedTask(task, this.dim);
    this.#known.set(task, found);
    return found;
  }

  config(): PlainObject {
    return { dim: this.dim };
  }

  state(): null {
    return null;
  }
}
