import { tensor } from '../creation.js';
import { CraftError } from '../errors.js';
import { noGrad } from '../grad-mode.js';
import type { StateDict } from '../nn/module.js';
import type { Tensor } from '../tensor.js';
import type { FlatParameters } from './flat-parameters.js';
import { fusedSweep, type SweepNumbers } from './kernels.js';
import { type CombinedGradient, type FlatGradient, nextRuns, sidesOf, type UpdateRun } from './optimizer.js';
import { sweepParameters } from './sweep.js';

/** Settings of AdamW; a group's own `lr` and `weightDecay` come first. Defaults as PyTorch's. */
interface AdamWOptions {
  /** Default 1e-3. */
  lr?: number;
  /** Decay rates of the two moments. Default [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** Default 1e-8. */
  eps?: number;
  /** Default 1e-2. */
  weightDecay?: number;
}

/**
 * AdamW (Loshchilov and Hutter, 2019) over flat buffers, with PyTorch's arithmetic:
 *
 *     p ← p·(1 − lr·wd);  m ← β₁m + (1−β₁)g;  v ← β₂v + (1−β₂)g²
 *     p ← p − lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + eps)
 *
 * t counts a parameter's own updates: one that no gradient reached keeps its value, its moments and its count.
 *
 * An update is one pass over memory (`kernels()` says which one): gradients, parameters and moments are read once, parameters
 * and moments written once; a sum of two gradients and the factor of a clipping are folded in.
 *
 * bfloat16 and float16 parameters: moments and arithmetic are float32, and a parameter is rounded once per update. PyTorch,
 * and so LeRobot, keeps both moments in the parameter's dtype; with β₂ = 0.999 a bfloat16 second moment stops moving, since it
 * has 8 bits and the change is a thousandth. The two trainings therefore differ there, by more than rounding.
 *
 * @example
 * ```ts
 * const flat = new optim.FlatParameters([{ parameters: model.namedParameters() }]);
 * const adamw = new optim.AdamW(flat, { lr: 1e-4 });
 * const gradient = flat.gradBuffer();
 * gradient.collect(() => loss.backward());
 * adamw.step(gradient);
 * gradient.zero();
 * ```
 */
export class AdamW {
  /** First moments, `[size]`. */
  readonly expAvg: Tensor;
  /** Second moments, `[size]`. */
  readonly expAvgSq: Tensor;
  /** Updates so far, one count per parameter. */
  readonly steps: number[];
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly #lr: number[];
  readonly #weightDecay: number[];

  constructor(
    readonly parameters: FlatParameters,
    options: AdamWOptions = {},
  ) {
    const { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, weightDecay = 1e-2 } = options;
    this.betas = betas;
    this.eps = eps;
    this.#lr = parameters.groups.map((group) => group.lr ?? lr);
    this.#weightDecay = parameters.groups.map((group) => group.weightDecay ?? weightDecay);
    this.expAvg = parameters.zeros();
    this.expAvgSq = parameters.zeros();
    this.steps = parameters.entries.map(() => 0);
  }

  /** Each group's learning rate as configured, before any schedule. */
  get learningRates(): readonly number[] {
    return this.#lr;
  }

  /**
   * One update.
   *
   * @param gradient a gradient, or a linear combination of two; neither is changed
   * @param lrFactor what a schedule multiplies every learning rate by. Default 1
   * @param scale factor on the gradient: that of a clipping. Default 1
   */
  step(gradient: FlatGradient | CombinedGradient, lrFactor = 1, scale = 1): void {
    const { first, second } = sidesOf(gradient);
    const runs = nextRuns(this.parameters, gradient, this.steps).map((run) => ({
      ...run,
      a: run.a * scale,
      b: run.b * scale,
      lr: this.#lr[run.group] * lrFactor,
      weightDecay: this.#weightDecay[run.group],
    }));
    const state = { m: this.expAvg, v: this.expAvgSq, first: first.flat, second: second?.flat ?? null };
    const { betas, eps } = this;
    noGrad(() => {
      this.parameters.segments.forEach((segment, i) => {
        const own = runs.filter((run) => run.segment === i);
        if (own.length === 0 || fusedSweep(segment, state, own, { betas, eps })) return;
        for (const run of own) this.#composed(run, first.flat, second?.flat);
      });
    });
  }

  // The same with stock operators, for devices and dtypes that the kernel does not support.
  #composed(run: UpdateRun & SweepNumbers, first: Tensor, second: Tensor | undefined): void {
    const { a, b, lr, weightDecay, step } = run;
    const [beta1, beta2] = this.betas;
    const root = Math.sqrt(1 - beta2 ** step);
    const stepSize = (lr / (1 - beta1 ** step)) * root;
    const buffers = [this.expAvg, this.expAvgSq, first, ...(second === undefined ? [] : [second])];
    sweepParameters(this.parameters.segments[run.segment], buffers, run, (p, m, v, x, y) => {
      const scaled = a === 1 ? x : x.mul(a);
      const g = y === undefined ? scaled : scaled.add(y, { alpha: b });
      p.mul_(1 - lr * weightDecay);
      m.mul_(beta1).add_(g, { alpha: 1 - beta1 });
      v.mul_(beta2).addcmul_(g, g, { value: 1 - beta2 });
      p.addcdiv_(m, v.sqrt().add_(this.eps * root), { value: -stepSize });
    });
  }

  /**
   * Moments and counts under PyTorch's names: `state/<parameter index>/{step, exp_avg, exp_avg_sq}`. Parameters never updated have
   * none, as in PyTorch. The moments are views of the optimiser's own memory.
   */
  stateDict(): StateDict {
    const state: StateDict = new Map();
    this.parameters.entries.forEach((entry, i) => {
      if (this.steps[i] === 0) return;
      state.set(`state/${i}/step`, tensor(this.steps[i]));
      state.set(`state/${i}/exp_avg`, this.parameters.view(this.expAvg, entry));
      state.set(`state/${i}/exp_avg_sq`, this.parameters.view(this.expAvgSq, entry));
    });
    return state;
  }

  /** Restores what `stateDict` gave. @throws CraftError OPTIMIZER_STATE_MISMATCH naming the tensor that is absent or does not fit */
  loadStateDict(state: ReadonlyMap<string, Tensor>, source = 'optimizer state'): void {
    const known = new Set<string>();
    const restored = this.parameters.entries.map((entry, i) => {
      const names = [`state/${i}/step`, `state/${i}/exp_avg`, `state/${i}/exp_avg_sq`];
      const found = names.map((name) => state.get(name));
      if (found.every((value) => value === undefined)) return null;
      names.forEach((name, j) => {
        known.add(name);
        const shape = found[j]?.shape;
        if (shape === undefined) throw mismatch(`${source}: ${name} (of ${entry.name}) is missing`);
        if (j > 0 && shape.join() !== entry.shape.join()) {
          throw mismatch(`${source}: ${name} has shape [${shape}], ${entry.name} has [${entry.shape}]`);
        }
      });
      return found as Tensor[];
    });
    for (const name of state.keys()) {
      if (!known.has(name)) throw mismatch(`${source}: ${name} belongs to no parameter of this model`);
    }
    noGrad(() => {
      this.expAvg.zero_();
      this.expAvgSq.zero_();
      this.parameters.entries.forEach((entry, i) => {
        const tensors = restored[i];
        this.steps[i] = tensors === null ? 0 : tensors[0].item();
        if (tensors === null) return;
        this.parameters.view(this.expAvg, entry).copy_(tensors[1]);
        this.parameters.view(this.expAvgSq, entry).copy_(tensors[2]);
      });
    });
  }
}

function mismatch(message: string): CraftError {
  return new CraftError('OPTIMIZER_STATE_MISMATCH', message);
}
