import { noGrad } from '../grad-mode.js';
import type { Tensor } from '../tensor.js';
import type { FlatParameters } from './flat-parameters.js';
import { type FlatGradient, nextRuns } from './optimizer.js';
import { sweepParameters } from './sweep.js';

/** Settings of SGD. Defaults as PyTorch's, but for `lr`, which it leaves open. */
interface SGDOptions {
  /** Default 1e-2. */
  lr?: number;
  /** Default 0. */
  momentum?: number;
  /** Added to the gradient (not decoupled). Default 0. */
  weightDecay?: number;
  /** Default false. */
  nesterov?: boolean;
}

/** Stochastic gradient descent with momentum over flat buffers, as `torch.optim.SGD` (dampening 0). */
export class SGD {
  /** Momentum, `[size]`; null without momentum. */
  readonly momentumBuffer: Tensor | null;
  readonly steps: number[];
  readonly #options: Required<SGDOptions>;

  constructor(
    readonly parameters: FlatParameters,
    options: SGDOptions = {},
  ) {
    const { lr = 1e-2, momentum = 0, weightDecay = 0, nesterov = false } = options;
    this.#options = { lr, momentum, weightDecay, nesterov };
    this.momentumBuffer = momentum > 0 ? parameters.zeros() : null;
    this.steps = parameters.entries.map(() => 0);
  }

  /** One update. @param lrFactor what a schedule multiplies every learning rate by. Default 1 */
  step(gradient: FlatGradient, lrFactor = 1): void {
    const { lr, momentum, weightDecay, nesterov } = this.#options;
    const { groups, segments } = this.parameters;
    noGrad(() => {
      for (const run of nextRuns(this.parameters, gradient, this.steps)) {
        const group = groups[run.group];
        const rate = (group.lr ?? lr) * lrFactor;
        const decay = group.weightDecay ?? weightDecay;
        const state = this.momentumBuffer === null ? [gradient.flat] : [gradient.flat, this.momentumBuffer];
        sweepParameters(segments[run.segment], state, run, (p, g, velocity) => {
          const total = decay === 0 ? g : g.add(p, { alpha: decay });
          if (velocity === undefined) {
            p.add_(total, { alpha: -rate });
            return;
          }
          velocity.mul_(momentum).add_(total);
          p.add_(nesterov ? total.add(velocity, { alpha: momentum }) : velocity, { alpha: -rate });
        });
      }
    });
  }
}
