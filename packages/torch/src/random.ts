import { type Handle, native } from './native.js';
import { type Tensor, wrap } from './tensor.js';

const collected = new FinalizationRegistry<number>((handle) => native.releaseGenerator(handle));

/** A stream of random numbers of its own on the CPU (mt19937, as `torch.Generator`). */
export class Generator {
  /** Handle in the addon. */
  readonly h: Handle;

  constructor(seed: number | bigint = 0) {
    this.h = native.newGenerator(seed);
    collected.register(this, this.h);
  }

  /** The whole state: uint8 `[5056]`. */
  getState(): Tensor {
    return wrap(native.rngState(this.h));
  }

  setState(state: Tensor): void {
    native.setRngState(this.h, state.h);
  }
}

/** Seeds libtorch's default generators on the CPU and on every GPU. */
export function manualSeed(seed: number | bigint): void {
  native.manualSeed(seed);
}

/** State of a device's default generator: uint8 (`[5056]` on the CPU), the same bytes as `torch.get_rng_state()`. */
export function getRngState(device = 'cpu'): Tensor {
  return wrap(native.rngState(device));
}

/** Restores what `getRngState` returned; random numbers then continue bit for bit. */
export function setRngState(state: Tensor, device = 'cpu'): void {
  native.setRngState(device, state.h);
}
