import { noGrad, randnLike, type Tensor } from '@craft-ft/torch';

/** The VAE encoder's Gaussian over the latent variable; both `[B, latent_dim]`. */
export interface Posterior {
  mu: Tensor;
  /** log σ², so that σ = exp(log σ² / 2). */
  logSigmaX2: Tensor;
}

/** μ + σ · noise. @param noise standard normal, `[B, latent_dim]`; drawn from libtorch's default generator where null */
export function sampleLatent({ mu, logSigmaX2 }: Posterior, noise: Tensor | null): Tensor {
  const drawn = noise ?? noGrad(() => randnLike(mu));
  return mu.add(logSigmaX2.div(2).exp().mul(drawn));
}

/** KL divergence from the standard normal, summed over the latent dimensions, averaged over the batch: scalar. */
export function klDivergence({ mu, logSigmaX2 }: Posterior): Tensor {
  const perDimension = logSigmaX2.add(1).sub(mu.square()).sub(logSigmaX2.exp()).mul(-0.5);
  return perDimension.sum([-1]).mean();
}
