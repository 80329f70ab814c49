import type { nn, Tensor } from '@craft-ft/torch';
import type { ActConfig } from './configuration.js';

type Activation = (x: Tensor) => Tensor;

/** The configuration's activation; gelu is the exact one. */
export function activation(name: ActConfig['feedforward_activation']): Activation {
  return name === 'relu' ? (x) => x.relu() : (x) => x.gelu();
}

/** linear2(dropout(activation(linear1(x)))): LeRobot keeps the two layers in the transformer layer itself, and so do the names. */
export function feedForward(
  x: Tensor,
  layer: { linear1: nn.Linear; linear2: nn.Linear; dropout: nn.Dropout; activation: Activation },
): Tensor {
  return layer.linear2.call(layer.dropout.call(layer.activation(layer.linear1.call(x))));
}
