import { availableParallelism } from 'node:os';
import { isMainThread } from 'node:worker_threads';
import { native } from './native.js';

// Debian's libtorch starts with one thread; PyTorch from pip starts with one per core. OMP_NUM_THREADS has the last word.
// Workers take over what the main thread has set.
if (isMainThread && process.env.OMP_NUM_THREADS === undefined) native.setNumThreads(availableParallelism());

/** Threads that one operator may use. Default: one per core, or `OMP_NUM_THREADS`. */
export function getNumThreads(): number {
  return native.numThreads();
}

export function setNumThreads(count: number): void {
  native.setNumThreads(count);
}

/**
 * Gives threads of this process that have a real-time priority the ordinary one (Linux). A library that is started as root may take it, for
 * its own threads and the calling one; busy ones then leave no time to anybody, the system included.
 */
export function leaveRealTime(): void {
  native.leaveRealTime();
}

/** Tensors that JavaScript holds in this thread, and the bytes of the distinct storages behind them. */
export function memory(): { tensors: number; bytes: number } {
  const [tensors, bytes] = native.memory();
  return { tensors, bytes };
}

/** Number of CUDA devices; 0 where libtorch has no CUDA or no device answers. */
export function cudaDeviceCount(): number {
  return native.cudaDeviceCount();
}

export function cudaIsAvailable(): boolean {
  return native.cudaDeviceCount() > 0;
}

/** libtorch's version, as `1.13.0` or `2.6.0`. */
export function libtorchVersion(): string {
  return native.version();
}

/** libtorch's own account of how it was built, and of its threads. */
export function libtorchConfig(): { build: string; parallel: string } {
  return { build: native.showConfig(), parallel: native.parallelInfo() };
}
