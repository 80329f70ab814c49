import { Xoshiro128 } from '@craft-ft/datasets';
import { cudaDeviceCount, getRngState, safetensors, setRngState, type Tensor, tensor } from '@craft-ft/torch';

/**
 * @file `rng_state.safetensors`, as LeRobot's `utils/random_utils.py`. Only libtorch's generator is used here; LeRobot also restores
 * Python's and NumPy's from this file, so it holds valid states for them, a function of the step.
 */

const MT_WORDS = 624;
const CUDA_STATE = 'torch_cuda_rng_state';

/** The file's tensors for the current state. */
export function rngStateTensors(seed: number, step: number): Map<string, Tensor> {
  const random = new Xoshiro128(seed, step);
  const words = BigInt64Array.from({ length: MT_WORDS }, () => BigInt(random.next()));
  const scalar = (value: bigint) => tensor(BigInt64Array.of(value));
  return new Map([
    ['py_rng_version', scalar(3n)],
    ['py_rng_state', tensor(BigInt64Array.of(...words, BigInt(MT_WORDS)))],
    ['np_rng_state_values', tensor(words)],
    ['np_rng_state_index', scalar(BigInt(MT_WORDS))],
    ['np_rng_has_gauss', scalar(0n)],
    ['np_rng_cached_gaussian', tensor([0])],
    ['torch_rng_state', getRngState()],
    // LeRobot's own: the current CUDA device's generator, where there is one.
    ...(cudaDeviceCount() > 0 ? [[CUDA_STATE, getRngState('cuda')] as const] : []),
  ]);
}

/** Restores libtorch's generator from a file that this project or LeRobot wrote. */
export function restoreRngState(path: string): void {
  using file = safetensors.open(path);
  using state = file.get('torch_rng_state');
  setRngState(state);
  if (cudaDeviceCount() === 0 || !file.has(CUDA_STATE)) return;
  using cuda = file.get(CUDA_STATE);
  setRngState(cuda, 'cuda');
}
