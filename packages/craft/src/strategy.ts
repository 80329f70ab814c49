import type { Policy, TensorBatch } from '@craft-ft/policies';
import {
  CraftError,
  getRngState,
  manualSeed,
  noGrad,
  scope,
  setRngState,
  type Tensor,
  tensor,
} from '@craft-ft/torch';
import {
  accumulate,
  type LazyBatch,
  type LossNumbers,
  MicroBatches,
  meanNumbers,
  type Optimization,
  requireFinite,
  type StepReport,
  type TrainingData,
  type UpdateStrategy,
} from '@craft-ft/training';
import type { AnchorCacheMetadata } from './anchors/metadata.js';
import type { CraftConfig } from './config.js';
import { type DualSettings, DualState, dualSettings, scaleWarnings } from './dual-state.js';
import {
  type CraftReport,
  craftReport,
  formatCraftState,
  formatHistory,
  parseCraftState,
  parseHistory,
  type RetentionRecord,
  reportLines,
  STATE_FILE,
  TaskLosses,
} from './record.js';
import { makeObjective, type RetentionObjective } from './retention/objective.js';
import { GradientPair } from './surgery/grad-surgery.js';
import { cosine, type GroupedCombination, type SurgerySettings } from './surgery/surgery.js';

/** The parts of a CRaFT run. */
export interface CraftParts {
  policy: Policy;
  optimization: Optimization;
  /** Batches of the old task; `metadata` where they come from an anchor cache. */
  anchors: TrainingData & { readonly metadata?: AnchorCacheMetadata | null };
  config: CraftConfig;
  /** Steps of the run, over which ε falls unless `epsilon_decay_steps` says otherwise. */
  steps: number;
  /** Anchor batches per retention step; as many as the task has per step. Default 1. */
  accumulation?: number;
}

const HISTORY_FILE = 'lambda_history.csv';
const TEACHER_FILE = 'craft_teacher.safetensors';
const STALE_FILE = 'craft_retention_gradient.safetensors';

/** The retention loss before and after training is averaged over at most this many batches. */
const MEASURED_BATCHES = 16;

/** At most this many batches determine the scale of a teacher's features. */
const CALIBRATION_BATCHES = 4;

/** Seeds dropout and noise while the retention loss is measured. */
const MEASURE_SEED = 1;

/**
 * CRaFT's step: task gradient and retention gradient into two flat buffers, surgery on their three inner products, and an update with
 * the merged gradient, which is stored nowhere; λ follows the constraint. On the K − 1 steps between two retention steps it is the
 * baseline's step, or with `stale_projection` one that still does not oppose the last retention gradient.
 *
 *     g_t = ∇L_task;  every K-th step also  g_r = ∇L_retain
 *     g = a·g_t + b·g_r      (surgery and merge, λ from before the step)
 *     λ follows L_retain − ε
 *     clip |g|;  AdamW
 */
export class CraftStrategy implements UpdateStrategy {
  readonly name = 'craft';
  readonly logFreq: number;
  readonly #parts: CraftParts;
  readonly #settings: DualSettings;
  readonly #objective: RetentionObjective;
  readonly #anchors: MicroBatches;
  readonly #gradients: GradientPair;
  /** The settings of the surgery that do not change during the run: all but λ. */
  readonly #surgery: Omit<SurgerySettings, 'lambda'>;
  #dual: DualState;
  #history: RetentionRecord[] = [];
  #taskLosses = new TaskLosses();
  #startLoss: number | null = null;
  /** Whether the retention buffer holds the gradient of an earlier step. */
  #hasRetained = false;

  /** @throws CraftError `ANCHOR_KIND`, `ANCHOR_FEATURES` */
  constructor(parts: CraftParts) {
    const { config, optimization, steps, anchors, accumulation = 1 } = parts;
    const { parameters } = optimization;
    this.#parts = parts;
    this.logFreq = config.log_craft_metrics_freq;
    this.#settings = dualSettings(config, steps);
    this.#objective = makeObjective(config, anchors.metadata ?? null, parameters);
    this.#anchors = new MicroBatches(anchors, accumulation);
    this.#gradients = new GradientPair(parameters, config.surgery_granularity);
    this.#surgery = {
      surgery: config.use_grad_projection ? config.surgery : 'none',
      mode: config.projection_mode,
      threshold: config.conflict_threshold,
      metric: config.conflict_metric,
      retainScale: config.retention_scale === 'step' ? config.retention_freq : 1,
      cagradC: config.cagrad_c,
    };
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
    await this.#calibrate();
    const start = requireFinite(await this.#measure(), 'retention loss before the first step');
    this.#startLoss = start;
    const { epsilon } = this.#settings;
    if (epsilon.mode === 'relative') this.#dual = this.#dual.withBaseline(start);
    const line = `retention loss on the anchors before the first step: ${start.toFixed(4)}`;
    return [line, ...scaleWarnings(epsilon, this.#parts.config, start)];
  }

  async ready(step: number): Promise<void> {
    const { config, steps } = this.#parts;
    if (step % config.retention_freq !== 0) return;
    await this.#anchors.ready(step / config.retention_freq, Math.floor((steps - 1) / config.retention_freq));
  }

  update(step: number, batches: readonly LazyBatch[]): StepReport {
    const { policy, config } = this.#parts;
    this.#gradients.task.zero();
    const forward = (batch: TensorBatch) => policy.call(batch);
    const task = accumulate(batches, forward, this.#gradients.task, `step ${step + 1}: loss`);
    const report =
      step % config.retention_freq === 0 ? this.#retentionStep(step, task) : this.#plainStep(step, task);
    this.#taskLosses.add(task.loss);
    return { ...report, task };
  }

  #retentionStep(step: number, { loss, metrics }: LossNumbers): StepReport {
    const retention = this.#retention(step);
    const cut = this.#gradients.combine({ ...this.#surgery, lambda: this.#dual.lambda });
    requireFinite(cut.norm, `step ${step + 1}: norm of the merged gradient`);
    const entry = this.#record(step, loss, retention.loss, cut);
    const merged = this.#gradients.merged(cut);
    const { gradNorm, lr } = this.#parts.optimization.apply(step, merged, cut.norm);
    const { step: _, task_loss: __, ...latest } = entry;
    return { loss, gradNorm, lr, metrics: { ...metrics, ...prefixed(retention.metrics) }, latest };
  }

  #plainStep(step: number, { loss, metrics }: LossNumbers): StepReport {
    const { optimization, config } = this.#parts;
    const report = ({ gradNorm, lr }: { gradNorm: number; lr: number }, more = {}) => {
      requireFinite(gradNorm, `step ${step + 1}: norm of the gradient`);
      return { loss, gradNorm, lr, metrics: { ...metrics, ...more } };
    };
    const { task } = this.#gradients;
    if (!config.stale_projection || !this.#hasRetained) return report(optimization.apply(step, task));
    // The old gradient is projected against, not added.
    const { threshold, metric } = this.#surgery;
    const cut = this.#gradients.combine({ lambda: 0, threshold, metric });
    const more = { stale_cos: cosine(cut), stale_conflict: cut.conflictShare };
    // Without a conflict the old gradient is not used: parameters that only it reaches stay unchanged.
    return cut.conflictShare === 0
      ? report(optimization.apply(step, task, cut.norm), more)
      : report(optimization.apply(step, this.#gradients.merged(cut), cut.norm), more);
  }

  // Forward and backward on the anchors of this step.
  #retention(step: number): LossNumbers {
    const { policy, config } = this.#parts;
    this.#gradients.retain.zero();
    const batches = this.#anchors.batches(step / config.retention_freq);
    const what = `step ${step + 1}: retention loss`;
    const part = (batch: TensorBatch) =>
      this.#objective.gradient(policy, batch, this.#gradients.retain, what, 1 / batches.length);
    const numbers = meanNumbers(batches.map((batch) => scope(() => part(batch()))));
    this.#hasRetained = true;
    return numbers;
  }

  // The dual step.
  #record(step: number, taskLoss: number, retentionLoss: number, cut: GroupedCombination): RetentionRecord {
    const used = this.#dual.lambda;
    const epsilon = this.#dual.epsilonAt(step, this.#settings);
    this.#dual = this.#dual.update(step, retentionLoss, this.#settings);
    const entry = {
      step,
      task_loss: taskLoss,
      retention_loss: retentionLoss,
      epsilon,
      lambda_used: used,
      lambda: this.#dual.lambda,
      grad_dot: cut.d,
      grad_cos: cosine(cut),
      grad_conflict: cut.conflictShare,
    };
    this.#history.push(entry);
    return entry;
  }

  async #calibrate(): Promise<void> {
    const { policy } = this.#parts;
    const targets = new Map(this.#objective.calibrated.map((term) => [term, [] as Tensor[]]));
    if (targets.size === 0) return;
    await this.#eachBatch(CALIBRATION_BATCHES, (batch) => {
      const complete = this.#objective.withTargets(policy, batch);
      for (const [term, list] of targets) {
        const target = complete[term.target?.key ?? ''];
        if (target !== undefined) list.push(target.detach().clone().keep());
      }
    });
    for (const [term, list] of targets) {
      if (list.length > 0) term.calibrate?.(list);
      for (const target of list) target.dispose();
    }
  }

  /** Mean retention loss over the first batches of anchors. */
  async #measure(): Promise<number> {
    const mean = this.#objective.mean(this.#parts.policy);
    await this.#eachBatch(MEASURED_BATCHES, mean.add);
    return mean.loss;
  }

  // Uses a seed of its own and restores the random state, so that training is not affected and two measurements differ by the weights
  // alone.
  async #eachBatch(most: number, body: (batch: TensorBatch) => void): Promise<void> {
    const { anchors, optimization } = this.#parts;
    const batches = Math.min(most, Math.ceil(anchors.framesPerEpoch / anchors.batchSize));
    const devices = [...new Set(['cpu', optimization.parameters.device])];
    const before = devices.map((device) => [device, getRngState(device).keep()] as const);
    manualSeed(MEASURE_SEED);
    try {
      for (let i = 0; i < batches; i++) {
        await anchors.ready(i, batches - 1);
        scope(() => body(anchors.batch(i)));
      }
    } finally {
      for (const [device, state] of before) {
        setRngState(state, device);
        state.dispose();
      }
    }
  }

  stateFiles(): Map<string, string> {
    const state = {
      dual: this.#dual,
      startLoss: this.#startLoss,
      task: this.#taskLosses,
      terms: this.#objective.state(),
    };
    const files = new Map([[STATE_FILE, formatCraftState(state)]]);
    if (this.#parts.config.save_lambda_history) files.set(HISTORY_FILE, formatHistory(this.#history));
    return files;
  }

  /** The teacher, if it is the policy's starting weights, and the gradient that `stale_projection` keeps. */
  stateTensors(): Map<string, Map<string, Tensor>> {
    const files = new Map<string, Map<string, Tensor>>();
    const { teacher } = this.#objective;
    if (teacher !== null) files.set(TEACHER_FILE, teacher.tensors());
    if (this.#parts.config.stale_projection && this.#hasRetained) {
      const { flat, reached } = this.#gradients.retain;
      const flags = tensor(Uint8Array.from(reached, Number));
      files.set(
        STALE_FILE,
        new Map([
          ['gradient', flat],
          ['reached', flags],
        ]),
      );
    }
    return files;
  }

  restore(
    read: (name: string) => string | null,
    readTensors: (name: string) => Map<string, Tensor> | null = () => null,
  ): void {
    const state = parseCraftState(read(STATE_FILE));
    this.#dual = state.dual;
    this.#startLoss = state.startLoss;
    this.#taskLosses = state.task;
    this.#objective.restore(state.terms);
    const history = read(HISTORY_FILE);
    this.#history = history === null ? [] : parseHistory(history, HISTORY_FILE);
    const { teacher } = this.#objective;
    if (teacher !== null && !teacher.restore(readTensors(TEACHER_FILE) ?? new Map())) {
      throw new CraftError(
        'CRAFT_STATE_INVALID',
        `${TEACHER_FILE}: missing, or of another policy; without the weights that the run started from it cannot go on`,
      );
    }
    if (this.#parts.config.stale_projection) this.#restoreStale(readTensors(STALE_FILE));
  }

  // Missing if the checkpoint was written without it: the next retention step computes one.
  #restoreStale(state: Map<string, Tensor> | null): void {
    const [gradient, reached] = [state?.get('gradient'), state?.get('reached')];
    if (gradient === undefined || reached === undefined) return;
    if (gradient.numel !== this.#gradients.retain.flat.numel)
      throw new CraftError('CRAFT_STATE_INVALID', `${STALE_FILE}: it belongs to another policy`);
    noGrad(() => this.#gradients.retain.flat.copy_(gradient));
    [...(reached.toTypedArray() as Uint8Array)].forEach((flag, i) => {
      this.#gradients.retain.reached[i] = flag === 1;
    });
    this.#hasRetained = true;
  }

  /** Summary of the run, with the retention loss measured again; null before the first retention step. */
  async report(): Promise<CraftReport | null> {
    if (this.#history.length === 0) return null;
    const retention = { before: this.#startLoss, now: await this.#measure() };
    return craftReport(this.#history, {
      task: { before: this.#taskLosses.before, now: this.#taskLosses.now },
      retention,
    });
  }

  async summary(): Promise<string[]> {
    const report = await this.report();
    return report === null ? [] : reportLines(report);
  }
}

// The parts of the retention loss, prefixed to distinguish them from those of the task loss.
function prefixed(metrics: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(metrics).map(([name, value]) => [`retention_${name}`, value]));
}
