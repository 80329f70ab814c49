import { type DType, nn, noGrad } from '@craft-ft/torch';

/** Parameters that stay in float32 in a bfloat16 model, as LeRobot's `to_bfloat16_for_selected_params`. */
const FLOAT32 = ['vision_tower', 'input_layernorm', 'post_attention_layernorm', 'model.norm'];

/**
 * Random weights for training from scratch (N(0, 0.02) for matrices, 0 for biases; norms start as the identity), each cast to its
 * dtype as soon as it is made, so that a bfloat16 model never exists in float32.
 */
export function makeWeights(module: nn.Module, dtype: DType): void {
  for (const [path, layer] of module.namedModules()) {
    initialise(layer);
    if (layer.namedChildren().length > 0) continue;
    for (const [name, parameter] of layer.namedParameters()) cast(`${path}.${name}`, parameter, dtype);
  }
}

function initialise(layer: nn.Module): void {
  const affine = layer instanceof nn.Linear || layer instanceof nn.Conv2d;
  if (affine || layer instanceof nn.Embedding) nn.init.normal_(layer.weight, 0, 0.02);
  if (affine && layer.bias !== null) nn.init.zeros_(layer.bias);
}

function cast(name: string, parameter: nn.Parameter, dtype: DType): void {
  const target = FLOAT32.some((part) => name.includes(part)) ? 'float32' : dtype;
  if (parameter.dtype === target) return;
  using moved = noGrad(() => parameter.to(target));
  parameter.setData_(moved);
}
