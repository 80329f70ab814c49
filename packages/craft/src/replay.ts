import type { Policy } from '@craft-ft/policies';
import { LossMean } from '@craft-ft/policies/loss-mean';
import { type optim, scope } from '@craft-ft/torch';
import {
  type LazyBatch,
  MicroBatches,
  type Optimization,
  requireFinite,
  type StepReport,
  type TrainingData,
  type UpdateStrategy,
} from '@craft-ft/training';

/** File of a checkpoint's `training_state/` by which a run with replay is recognised. */
const STATE_FILE = 'replay_state.json';

/** What a run with replay is made of. */
export interface ReplayParts {
  policy: Policy;
  optimization: Optimization;
  /** Batches of the old task. */
  anchors: TrainingData;
  /** Weight of their loss beside the task's. */
  weight: number;
  /** Steps of the run. */
  steps: number;
  /** Anchor batches per step; as many as the task has per step. Default 1. */
  accumulation?: number;
}

/**
 * Experience replay: the gradient of L_task + weight · L_anchors, in one backward pass, clipped, to AdamW. L_anchors is the policy's own
 * loss on recordings of the old task (Rolnick et al., 2019; Chaudhry et al., 2019).
 */
export class ReplayStrategy implements UpdateStrategy {
  readonly name = 'replay';
  readonly logFreq = 0;
  readonly #parts: ReplayParts;
  readonly #anchors: MicroBatches;
  readonly #gradient: optim.GradBuffer;

  constructor(parts: ReplayParts) {
    this.#parts = parts;
    this.#anchors = new MicroBatches(parts.anchors, parts.accumulation ?? 1);
    this.#gradient = parts.optimization.parameters.gradBuffer();
  }

  async begin(): Promise<string[]> {
    return [];
  }

  ready(step: number): Promise<void> {
    return this.#anchors.ready(step, this.#parts.steps - 1);
  }

  update(step: number, batches: readonly LazyBatch[]): StepReport {
    const { policy, optimization, weight } = this.#parts;
    this.#gradient.zero();
    const anchors = this.#anchors.batches(step);
    const [task, replayed] = [new LossMean(), new LossMean()];
    batches.forEach((batch, i) => {
      scope(() => {
        const fresh = policy.call(batch());
        const old = policy.call(anchors[i]!());
        requireFinite(fresh.loss.item(), `step ${step + 1}: loss`);
        requireFinite(old.loss.item(), `step ${step + 1}: loss on the anchors`);
        const loss = fresh.loss.add(old.loss.mul(weight)).div(batches.length);
        this.#gradient.collect(() => loss.backward());
        task.add(fresh, 1);
        replayed.add(old, 1);
      });
    });
    const { gradNorm, lr } = optimization.apply(step, this.#gradient);
    requireFinite(gradNorm, `step ${step + 1}: norm of the gradient`);
    return { loss: task.loss, gradNorm, lr, metrics: { ...task.metrics, replay_loss: replayed.loss }, task };
  }

  /** Anchor batches depend only on the step, so the file only marks this as a replay run. */
  stateFiles(): Map<string, string> {
    return new Map([[STATE_FILE, JSON.stringify({ version: 1 })]]);
  }

  restore(): void {}

  async summary(): Promise<string[]> {
    return [];
  }
}
