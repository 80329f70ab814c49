import { nn, noGrad, scope, type Tensor } from '@craft-ft/torch';

/** Property of {@link LoraLinear}, and so part of names in a state dict: `<layer>.adapter.lora_A.weight`. */
export const ADAPTER = 'adapter';

/**
 * A low-rank update of a linear layer's weight: adds scaling · B·A·x to its output (Hu et al., 2021). The product B·A is never
 * formed in training. A starts uniform as PyTorch's linear layers do (or normal with deviation 1/r), B at zero, so the output is
 * unchanged at first.
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

  /** The term to add to the layer's output, in the adapter's dtype: float32 even if the layer is bfloat16, as in PEFT. */
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

/**
 * A linear layer with a low-rank update, which replaces the original layer: its parameters keep their names, those of the update
 * are added as `adapter.lora_A.weight` and `adapter.lora_B.weight`.
 */
export class LoraLinear extends nn.Module {
  /** The layer's own, frozen. */
  readonly weight: nn.Parameter;
  readonly bias: nn.Parameter | null;
  readonly adapter: LoraAdapter;
  // Private, so that its parameters are found once, under this module's name.
  readonly #base: nn.Linear;

  constructor(base: nn.Linear, options: ConstructorParameters<typeof LoraAdapter>[1]) {
    super();
    this.weight = base.weight;
    this.bias = base.bias;
    this.adapter = new LoraAdapter(base, options);
    this.#base = base;
  }

  /** The layer without its update. */
  get base(): nn.Linear {
    return this.#base;
  }

  /** @returns in the layer's dtype, `[..., outFeatures]` */
  override forward(x: Tensor): Tensor {
    const y = this.#base.call(x);
    const sum = y.add(this.adapter.call(x));
    return sum.dtype === y.dtype ? sum : sum.to(y.dtype);
  }
}
