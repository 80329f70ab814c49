import {
  type DataStream,
  lossAndGradient,
  type Optimization,
  type Policy,
  requireFinite,
  type StepReport,
  type TensorBatch,
  type UpdateStrategy,
} from '@craft-ft/lerobot';
import { CraftError, getRngState, noGrad, type optim, scope, setRngState } from '@craft-ft/torch';
import { z } from 'zod';
import type { CraftConfig } from './config.js';
import { type DualSettings, DualState } from './dual-state.js';
import { applyMerge_, surgery } from './flat-surgery.js';
import { formatHistory, parseHistory, type RetentionRecord } from './lambda-history.js';
import { computeRetentionLoss } from './retention-loss.js';

/** What a CRaFT run is made of. */
export interface CraftParts {
  policy: Policy;
  optimization: Optimization;
  /** Batches of the old task. */
  anchors: DataStream;
  config: CraftConfig;
  /** Steps of the run, over which ε falls unless `epsilon_decay_steps` says otherwise. */
  steps: number;
}

const STATE_FILE = 'craft_state.json';
const HISTORY_FILE = 'lambda_history.csv';

/** Batches that the retention loss before and after training is averaged over, at most. */
const MEASURED_BATCHES = 16;

/** An absolute ε further from the retention loss than this factor is probably a mistake. */
const FAR = 5;

const stateSchema = z.strictObject({
  version: z.literal(1),
  dual: z.unknown(),
  start_retention_loss: z.number(),
});

/**
 * CRaFT's step: task gradient and retention gradient into two flat buffers, surgery on their three inner products, the merge in
 * place, one update; λ follows the constraint. On the K − 1 steps between two retention steps it is the baseline's step.
 *
 *     g_t = ∇L_task;  every K-th step also  g_r = ∇L_retain
 *     g = a·g_t + b·g_r      (projection and merge, λ from before the step)
 *     λ ← clip(λ + lambda_lr·(L_retain − ε), 0, lambda_max)
 *     clip |g|;  AdamW
 */
export class CraftStrategy implements UpdateStrategy {
  readonly name = 'craft';
  readonly logFreq: number;
  readonly #parts: CraftParts;
  readonly #settings: DualSettings;
  readonly #task: optim.GradBuffer;
  readonly #retain: optim.GradBuffer;
  #dual: DualState;
  #history: RetentionRecord[] = [];
  #startLoss: number | null = null;

  constructor(parts: CraftParts) {
    const { config, optimization, steps } = parts;
    this.#parts = parts;
    this.logFreq = config.log_craft_metrics_freq;
    this.#settings = { ...config, steps };
    this.#task = optimization.parameters.gradBuffer();
    this.#retain = optimization.parameters.gradBuffer();
    this.#dual = DualState.initial(config.initial_lambda);
  }

  /** Every retention step so far. */
  get history(): readonly RetentionRecord[] {
    return this.#history;
  }

  /** λ for the next merge. */
  get lambda(): number {
    return this.#dual.lambda;
  }

  async begin(): Promise<string[]> {
    if (this.#startLoss !== null) return [];
    const start = requireFinite(await this.#measure(), 'retention loss before the first step');
    this.#startLoss = start;
    if (this.#settings.epsilon_mode === 'relative') this.#dual = this.#dual.withBaseline(start);
    const lines = [`retention loss on the anchors before the first step: ${start.toFixed(4)}`];
    const { epsilon_mode: mode, epsilon_start: epsilon } = this.#settings;
    // An absolute ε is easily on another scale than the loss it bounds: λ then runs to a bound and stays there.
    if (mode === 'absolute' && (start > FAR * epsilon || epsilon > FAR * start)) {
      const remedy = '--craft.epsilon_mode=relative measures it against that loss';
      lines.push(
        `warning: craft.epsilon_start=${epsilon} is on another scale than the retention loss; ${remedy}`,
      );
    }
    return lines;
  }

  async ready(step: number): Promise<void> {
    const { anchors, config, steps } = this.#parts;
    if (step % config.retention_freq !== 0) return;
    await anchors.ready(step / config.retention_freq, Math.floor((steps - 1) / config.retention_freq));
  }

  update(step: number, batch: TensorBatch): StepReport {
    const { policy, optimization, config } = this.#parts;
    this.#task.zero();
    const { loss, metrics } = lossAndGradient(() => policy.call(batch), this.#task, `step ${step + 1}: loss`);
    if (step % config.retention_freq !== 0) {
      const { gradNorm, lr } = optimization.apply(step, this.#task);
      requireFinite(gradNorm, `step ${step + 1}: norm of the gradient`);
      return { loss, gradNorm, lr, metrics };
    }
    const retention = this.#retention(step);
    const record = this.#operate(step, loss, retention.loss);
    const { gradNorm, lr } = optimization.apply(step, this.#merged(), record.norm);
    this.#history.push(record.entry);
    const { step: _, task_loss: __, ...latest } = record.entry;
    return { loss, gradNorm, lr, metrics: { ...metrics, ...prefixed(retention.metrics) }, latest };
  }

  // Forward and backward on the anchors of this step.
  #retention(step: number): { loss: number; metrics: Record<string, number> } {
    const { policy, anchors, config } = this.#parts;
    this.#retain.zero();
    return scope(() => {
      const batch = anchors.batch(step / config.retention_freq);
      const forward = () => computeRetentionLoss(policy, batch);
      return lossAndGradient(forward, this.#retain, `step ${step + 1}: retention loss`);
    });
  }

  // Surgery into the task's buffer, and the dual step.
  #operate(step: number, taskLoss: number, retentionLoss: number): { entry: RetentionRecord; norm: number } {
    const { config } = this.#parts;
    const used = this.#dual.lambda;
    const cut = surgery(this.#task.flat, this.#retain.flat, {
      lambda: used,
      mode: config.projection_mode,
      project: config.use_grad_projection,
      threshold: config.conflict_threshold,
      metric: config.conflict_metric,
      retainScale: config.retention_scale === 'step' ? config.retention_freq : 1,
    });
    requireFinite(cut.norm, `step ${step + 1}: norm of the merged gradient`);
    applyMerge_(this.#task.flat, this.#retain.flat, cut.a, cut.b);
    const epsilon = this.#dual.epsilonAt(step, this.#settings);
    this.#dual = this.#dual.update(step, retentionLoss, this.#settings);
    return {
      norm: cut.norm,
      entry: {
        step,
        task_loss: taskLoss,
        retention_loss: retentionLoss,
        epsilon,
        lambda_used: used,
        lambda: this.#dual.lambda,
        grad_dot: cut.d,
        grad_cos: cut.cos,
        grad_conflict: cut.conflict ? 1 : 0,
      },
    };
  }

  // A parameter that either loss reaches is updated; one that neither reaches is left alone entirely.
  #merged(): optim.FlatGradient {
    const other = this.#retain.reached;
    return { flat: this.#task.flat, reached: this.#task.reached.map((reached, i) => reached || other[i]) };
  }

  /** Mean retention loss over the first batches of anchors; draws no random numbers that training would have drawn. */
  async #measure(): Promise<number> {
    const { policy, anchors } = this.#parts;
    const batches = Math.min(MEASURED_BATCHES, Math.ceil(anchors.sampler.length / anchors.batchSize));
    const random = getRngState().keep();
    let sum = 0;
    try {
      for (let i = 0; i < batches; i++) {
        await anchors.ready(i, batches - 1);
        sum += scope(() => noGrad(() => computeRetentionLoss(policy, anchors.batch(i)).loss.item()));
      }
    } finally {
      setRngState(random);
      random.dispose();
    }
    return sum / batches;
  }

  stateFiles(): Map<string, string> {
    const state = { version: 1, dual: this.#dual, start_retention_loss: this.#startLoss };
    const files = new Map([[STATE_FILE, JSON.stringify(state, null, 4)]]);
    if (this.#parts.config.save_lambda_history) files.set(HISTORY_FILE, formatHistory(this.#history));
    return files;
  }

  restore(read: (name: string) => string | null): void {
    const text = read(STATE_FILE);
    if (text === null) {
      throw new CraftError(
        'CRAFT_STATE_MISSING',
        `${STATE_FILE} is missing from the checkpoint: was it trained with craft.enabled?`,
      );
    }
    const state = stateSchema.safeParse(parseJson(text));
    if (!state.success) {
      const [issue] = state.error.issues;
      throw new CraftError(
        'CRAFT_STATE_INVALID',
        `${STATE_FILE}: ${issue.path.join('.')}: ${issue.message}; the file is damaged`,
      );
    }
    this.#dual = DualState.fromJSON(state.data.dual, STATE_FILE);
    this.#startLoss = state.data.start_retention_loss;
    const history = read(HISTORY_FILE);
    this.#history = history === null ? [] : parseHistory(history, HISTORY_FILE);
  }

  async summary(): Promise<string[]> {
    const rows = this.#history;
    if (rows.length === 0) return [];
    const range = (values: number[]) =>
      `${Math.min(...values).toFixed(4)} to ${Math.max(...values).toFixed(4)}`;
    const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const conflicts = rows.filter((row) => row.grad_conflict === 1).length;
    return [
      `retention loss on the anchors: ${this.#startLoss?.toFixed(4)} before, ${(await this.#measure()).toFixed(4)} now`,
      `λ ${range(rows.map((row) => row.lambda))}, now ${this.lambda.toFixed(4)}; ε ${range(rows.map((row) => row.epsilon))}`,
      `${conflicts} of ${rows.length} retention steps in conflict; mean cosine ${mean(rows.map((row) => row.grad_cos)).toFixed(3)}`,
    ];
  }
}

// The parts of the retention loss, told apart from those of the task loss.
function prefixed(metrics: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(metrics).map(([name, value]) => [`retention_${name}`, value]));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new CraftError('CRAFT_STATE_INVALID', `${STATE_FILE} is not JSON; the file is damaged`);
  }
}
