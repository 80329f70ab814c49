import type { PlainObject } from '@craft-ft/datasets/json';
import { CraftError } from '@craft-ft/torch';
import type { ProcessorStep, TensorBatch, Texts } from './step.js';

const STATE = 'observation.state';

/** Options of {@link PromptStep}. */
export interface PromptOptions {
  /** Shorter states are padded with zeros. Default 32. */
  maxStateDim?: number;
  /** Which text is the instruction. Default `task`. */
  taskKey?: string;
}

/** Options of steps that have something to say. */
export interface WarningOptions {
  /** Receives one-line warnings. Default: `console.warn`. */
  onWarning?: (message: string) => void;
}

/**
 * One of 256 bins of a normalised value, by lower edges −1 + k/128: 0 to 255; −1 below the first edge, and 255 from the last one up
 * (NaN too), as numpy's `digitize` gives them.
 */
export function stateBin(value: number): number {
  if (Number.isNaN(value)) return 255;
  return Math.min(255, Math.max(-1, Math.floor((value + 1) * 128)));
}

/** The instruction and the state as π0-FAST reads them. */
export function statePrompt(task: string, state: readonly number[]): string {
  const text = task.trim().replaceAll('_', ' ').replaceAll('\n', ' ');
  return `Task: ${text}, State: ${state.map(stateBin).join(' ')};\n`;
}

/**
 * Writes the normalised state into the instruction, as LeRobot's `Pi0FastPrepareStateAndLanguageTokenizerProcessorStep`: the text
 * `task` becomes `Task: …, State: 128 7 …;\n`.
 */
export class PromptStep implements ProcessorStep {
  readonly registryName = 'pi0_fast_prepare_state_tokenizer_processor_step';
  readonly #maxStateDim: number;
  readonly #taskKey: string;

  constructor({ maxStateDim = 32, taskKey = 'task' }: PromptOptions = {}) {
    this.#maxStateDim = maxStateDim;
    this.#taskKey = taskKey;
  }

  /** @throws CraftError `POLICY_INPUT` without a state, `PROCESSOR_TASK` without instructions or with too few */
  process(batch: TensorBatch, texts: Texts): TensorBatch {
    const state = batch[STATE];
    if (state === undefined)
      throw new CraftError(
        'POLICY_INPUT',
        `the batch has no "${STATE}", which the prompt of the policy needs`,
      );
    const [rows = 0, width = 0] = state.shape;
    const values = state.to({ device: 'cpu', dtype: 'float32' }).toTypedArray() as Float32Array;
    const tasks = textsOf(texts, this.#taskKey, rows);
    texts[this.#taskKey] = tasks.map((task, row) => {
      const own = Array.from(values.subarray(row * width, (row + 1) * width));
      while (own.length < this.#maxStateDim) own.push(0);
      return statePrompt(task, own);
    });
    return batch;
  }

  config(): PlainObject {
    return { max_state_dim: this.#maxStateDim, task_key: this.#taskKey };
  }

  state(): null {
    return null;
  }
}

/**
 * A text for each of `rows` samples; a single one serves all.
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
