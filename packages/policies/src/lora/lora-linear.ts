import { nn, noGrad, scope, type Tensor } from '@craft-ft/torch';

/** Names inside a layer's adapter, and so in the state dict: `<layer>.adapter.lora_A.weight`. */
export const ADAPTER = 'adapter';

/**
 * A low-rank update of a linear layer's weight: adds scaling · B·A·x to its output (Hu et al., 2021). The product B·A is never formed
 * in training. A starts uniform as PyTorch's linear layers do (or normal with deviation 1/r), B at zero: at first nothing changes.
 */
export class LoraAdapter extends nn.Module {
  /** A: `[r, inFeatures]` */
  readonly lora_A: nn.Linear;
  /** B: `[outFeatures, r]` */
  readonly lora_B: nn.Linear;
  readonly dropout: nn.Dropout;
  readonly scaling: number;

  constructor(
    layer: nn.Linear,
    {
      r,
      scaling,
      dropout,
      init,
    }: { r: number; scaling: number; dropout: number; init: 'uniform' | 'gaussian' },
  ) {
    super();
    const [outFeatures, inFeatures] = layer.weight.shape as [number, number];
    this.lora_A = new nn.Linear(inFeatures, r, { bias: false });
    this.lora_B = nn.init.withoutInit(() => new nn.Linear(r, outFeatures, { bias: false }));
    if (init === 'gaussian') nn.init.normal_(this.lora_A.weight, 0, 1 / r);
    nn.init.zeros_(this.lora_B.weight);
    this.dropout = new nn.Dropout(dropout);
    this.scaling = scaling;
    this.to({ device: layer.weight.device });
  }

  /** What is to be added to the layer's output; in the adapter's dtype, float32 also where the layer is bfloat16 (as PEFT). */
  override forward(x: Tensor): Tensor {
    const dtype = this.lora_A.weight.dtype;
    const input = this.dropout.call(x.dtype === dtype ? x : x.to(dtype));
    return this.lora_B.call(this.lora_A.call(input)).mul(this.scaling);
  }

  /** scaling · B·A: `[outFeatures, inFeatures]` */
  delta(): Tensor {
    return noGrad(() => scope(() => this.lora_B.weight.matmul(this.lora_A.weight).mul(this.scaling)));
  }
}
