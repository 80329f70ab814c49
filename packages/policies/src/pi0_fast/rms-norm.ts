import { hasOperator, nn, rmsNorm, type Tensor, zeros } from '@craft-ft/torch';

const fused = () => hasOperator('rms_norm');

/** Gemma's norm: x / √(mean(x²) + eps) · (1 + weight), computed in float32, returned in the input's dtype. */
export class RmsNorm extends nn.Module {
  /** `[width]` */
  readonly weight: nn.Parameter;

  constructor(
    width: number,
    readonly eps = 1e-6,
  ) {
    super();
    this.weight = new nn.Parameter(zeros([width]));
  }

  override forward(x: Tensor): Tensor {
    const { dtype } = x;
    if (dtype === 'float32') return this.normalise(x);
    return this.normalise(x.to('float32')).to(dtype);
  }

  private normalise(x: Tensor): Tensor {
    const scale = this.weight.add(1);
    if (fused()) return rmsNorm(x, [this.weight.numel], scale, this.eps);
    return x.mul(x.square().mean([-1], true).add(this.eps).rsqrt()).mul(scale);
  }
}
