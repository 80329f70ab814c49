import type { PlainObject } from '@craft-ft/datasets/json';
import { CraftError, noGrad, scope, type Tensor, tensor } from '@craft-ft/torch';
import type { ProcessorStep, TensorBatch } from './step.js';

const STATE = 'observation.state';

/** Describes actions that a policy learns relative to the state. */
export interface RelativeActions {
  /** Actions of a chunk, all relative to the state at its start. */
  chunkSize: number;
  /** Joints that stay absolute; see {@link RelativeActionsOptions}. */
  excludeJoints: readonly string[];
  actionNames: readonly string[] | null;
}

/** Options of {@link RelativeActionsStep}. */
interface RelativeActionsOptions {
  /** Default false: actions stay absolute. */
  enabled?: boolean;
  /** Joints that stay absolute: those whose name contains one of these, in any case. Default none. */
  excludeJoints?: readonly string[];
  /** Names of the action's dimensions. null: no dimension is excluded. */
  actionNames?: readonly string[] | null;
}

/** 1 for each dimension that is relative, 0 for those that stay absolute. */
export function relativeMask(
  width: number,
  { excludeJoints = [], actionNames }: RelativeActionsOptions,
): number[] {
  const excluded = excludeJoints.filter((name) => name !== '').map((name) => name.toLowerCase());
  return Array.from({ length: width }, (_, d) => {
    const name = actionNames?.[d]?.toLowerCase();
    return name !== undefined && excluded.some((part) => name.includes(part)) ? 0 : 1;
  });
}

/**
 * Makes actions relative to the current state (action − state), before they are normalised, as LeRobot's
 * `RelativeActionsProcessorStep`. State and action must then have the same dimensions in the same order. Remembers the state, for
 * {@link AbsoluteActionsStep}.
 *
 * A policy returns the actions of a chunk one by one while new observations arrive; all of them are relative to the state that the
 * chunk was predicted from. Call `pin` whenever the policy predicts.
 */
export class RelativeActionsStep implements ProcessorStep {
  readonly registryName = 'relative_actions_processor';
  readonly #options: RelativeActionsOptions;
  #state: Tensor | null = null;
  #pinned: Tensor | null = null;

  constructor(options: RelativeActionsOptions = {}) {
    this.#options = options;
  }

  get enabled(): boolean {
    return this.#options.enabled === true;
  }

  process(batch: TensorBatch): TensorBatch {
    const state = batch[STATE];
    if (!this.enabled || state === undefined) return batch;
    this.#state?.dispose();
    this.#state = noGrad(() => state.clone()).keep();
    return batch.action === undefined ? batch : { ...batch, action: this.shift(batch.action, state, -1) };
  }

  /**
   * Actions plus `sign` times the state.
   *
   * @param actions `[B, T, a]` or `[B, a]`
   * @param state `[B, s]`, or `[B, n, s]` with the current state first; s ≥ a
   * @throws CraftError `PROCESSOR_RELATIVE` if there are fewer state than action dimensions
   */
  shift(actions: Tensor, state: Tensor, sign: 1 | -1): Tensor {
    const width = actions.shape.at(-1)!;
    const current = state.ndim === 3 ? state.select(1, 0) : state;
    if (current.shape.at(-1)! < width) {
      throw new CraftError(
        'PROCESSOR_RELATIVE',
        `relative actions: the state has ${current.shape.at(-1)} dimensions, the action ${width}; ` +
          'both need the same, in the same order (set policy.use_relative_actions=false)',
      );
    }
    return scope(() => {
      const { device, dtype } = actions;
      const mask = tensor(relativeMask(width, this.#options), { device, dtype });
      const offset = current.narrow(-1, 0, width).to({ device, dtype }).mul(mask).mul(sign);
      return actions.add(actions.ndim === 3 ? offset.unsqueeze(1) : offset);
    });
  }

  /** Called when the policy predicts from the last batch: actions are relative to its state until the next `pin`. */
  pin(): void {
    if (this.#state === null) return;
    this.#pinned?.dispose();
    this.#pinned = noGrad(() => this.#state!.clone()).keep();
  }

  /** The state that actions are relative to: that of the pinned batch, else of the last batch; null before the first one. */
  get reference(): Tensor | null {
    return this.#pinned ?? this.#state;
  }

  config(): PlainObject {
    const { enabled = false, excludeJoints = [], actionNames = null } = this.#options;
    return {
      enabled,
      exclude_joints: [...excludeJoints],
      action_names: actionNames === null ? null : [...actionNames],
    };
  }

  state(): null {
    return null;
  }
}

/** Turns relative actions back into absolute ones, with the state that they were predicted from. */
export class AbsoluteActionsStep implements ProcessorStep {
  readonly registryName = 'absolute_actions_processor';
  #relative: RelativeActionsStep | null = null;

  constructor(readonly enabled: boolean) {}

  /** Sets the preprocessor step that this step inverts. */
  follow(relative: RelativeActionsStep | null): void {
    this.#relative = relative;
  }

  /** @throws CraftError `PROCESSOR_RELATIVE` if no observation has been preprocessed yet */
  process(batch: TensorBatch): TensorBatch {
    if (!this.enabled || batch.action === undefined) return batch;
    const state = this.#relative?.reference ?? null;
    if (this.#relative === null || state === null) {
      throw new CraftError(
        'PROCESSOR_RELATIVE',
        `${this.registryName}: actions are relative to a state, and no observation was preprocessed before`,
      );
    }
    return { ...batch, action: this.#relative.shift(batch.action, state, 1) };
  }

  config(): PlainObject {
    return { enabled: this.enabled };
  }

  state(): null {
    return null;
  }
}
