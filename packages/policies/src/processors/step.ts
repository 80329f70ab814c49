import type { PlainObject } from '@craft-ft/datasets/json';
import type { Tensor } from '@craft-ft/torch';
import { CraftError } from '@craft-ft/torch/errors';

/** Tensors by key: what a policy and its processors work on. */
export type TensorBatch = Record<string, Tensor>;

/** Texts of a batch by key, one per sample; `task` is the instruction. */
export type Texts = Record<string, readonly string[]>;

/** One stage between a dataset (or a robot) and a policy, as LeRobot's `ProcessorStep`. */
export interface ProcessorStep {
  /** LeRobot's name for this kind of step; part of file names. */
  readonly registryName: string;
  /**
   * Returns a new batch; `batch` itself is not changed. Untouched tensors are passed on as they are.
   *
   * @param texts the pipeline's own copy for this batch: a step may replace entries for the steps after it
   */
  process(batch: TensorBatch, texts: Texts): TensorBatch;
  /** The `config` object of the step's entry in the pipeline's JSON file. */
  config(): PlainObject;
  /** Tensors for the step's state file; null if it has none. */
  state(): ReadonlyMap<string, Tensor> | null;
  /** Copies the files that the step needs, if any, into a checkpoint's folder. */
  saveAssets?(dir: string): void;
}

/** Options of steps that may warn. */
export interface WarningOptions {
  /** Receives one-line warnings. Default: `console.warn`. */
  onWarning?: (message: string) => void;
}

/**
 * One text for each of `rows` samples; a single text is used for all.
 *
 * @throws CraftError `PROCESSOR_TASK`
 */
export function textsOf(texts: Texts, key: string, rows: number): readonly string[] {
  const found = texts[key];
  if (found === undefined) {
    throw new CraftError(
      'PROCESSOR_TASK',
      `the batch has no instruction "${key}", which the policy needs; pass { ${key}: ['…'] } to preprocess`,
    );
  }
  if (found.length === rows) return found;
  if (found.length === 1) return Array<string>(rows).fill(found[0]!);
  throw new CraftError('PROCESSOR_TASK', `${found.length} instructions "${key}" for ${rows} samples`);
}
