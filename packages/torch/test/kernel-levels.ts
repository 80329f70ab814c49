import * as torch from '../src/index.js';

/** The levels of kernels that this build and processor have, narrowest first; none where the library was not built. */
export function fusedLevels(): torch.optim.KernelLevel[] {
  return (['plain', 'avx2', 'avx512'] as const).filter((level) => {
    try {
      return withKernels(level, () => true);
    } catch (error) {
      if (error instanceof torch.CraftError && error.code === 'KERNELS_MISSING') return false;
      throw error;
    }
  });
}

/** Runs `body` with one kind of kernels and a number of threads, and puts both back. */
export function withKernels<T>(level: torch.optim.KernelLevel, body: () => T, threads = 1): T {
  const before = torch.getNumThreads();
  try {
    torch.optim.useKernels(level);
    torch.setNumThreads(threads);
    return body();
  } finally {
    torch.optim.useKernels('auto');
    torch.setNumThreads(before);
  }
}
