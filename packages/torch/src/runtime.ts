import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { applySettings, native } from './native.js';

/**
 * Settings for a training program; merely importing this package applies none of them. Loads
 * nothing: they take effect when libtorch is loaded, at the first use of a tensor. Call it once, at the start of the main thread;
 * worker threads inherit it.
 *
 * - Threads of one operator: as many as there are physical cores (`OMP_NUM_THREADS` has the last word).
 * - Idle OpenMP threads sleep soon instead of spinning (`OMP_WAIT_POLICY` and `GOMP_SPINCOUNT` have the last word). This only works
 *   before libtorch is loaded.
 * - Freed memory stays with the process, because every training step allocates again what the last one freed (glibc's own
 *   `GLIBC_TUNABLES`, `MALLOC_TRIM_THRESHOLD_` and `MALLOC_MMAP_THRESHOLD_` have the last word).
 *
 * @example
 * ```ts
 * import * as torch from '@craft-ft/torch';
 * torch.configureRuntime();
 * ```
 */
export function configureRuntime(): void {
  const { env } = process;
  // libgomp reads this when it is loaded. By default its threads spin for a long time, which is very slow when another program needs the
  // processor too.
  if (env.OMP_WAIT_POLICY === undefined) env.GOMP_SPINCOUNT ??= '20000';
  applySettings({ threads: env.OMP_NUM_THREADS === undefined ? physicalCores() : null });
}

/**
 * Physical cores that this process may use: two hyperthreads share the units that matrix products need, so a second thread there
 * only adds waiting. On other systems than Linux, the number of logical processors.
 *
 * @param system where Linux describes processors; for tests
 */
export function physicalCores(
  system = { topology: '/sys/devices/system/cpu', status: '/proc/self/status' },
): number {
  const logical = availableParallelism();
  try {
    const [, allowed] = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync(system.status, 'utf8')) ?? [];
    const cores = new Set<string>();
    for (const cpu of readdirSync(system.topology)) {
      const [, number] = /^cpu(\d+)$/.exec(cpu) ?? [];
      if (number === undefined || allowed === undefined || !inList(Number(number), allowed)) continue;
      cores.add(readFileSync(`${system.topology}/${cpu}/topology/thread_siblings_list`, 'utf8'));
    }
    return cores.size === 0 ? logical : Math.min(cores.size, logical);
  } catch {
    return logical;
  }
}

// Linux's notation for sets of processors: `0-3,8`.
function inList(cpu: number, list: string): boolean {
  return list.split(',').some((range) => {
    const [first, last = first] = range.split('-').map(Number);
    return cpu >= first && cpu <= last;
  });
}

/** Threads that one operator may use. libtorch's own choice unless `configureRuntime` or `setNumThreads` was called. */
export function getNumThreads(): number {
  return native.numThreads();
}

export function setNumThreads(count: number): void {
  native.setNumThreads(count);
}

/**
 * Gives threads of this process that have a real-time priority the ordinary one (Linux). A library that is started as root may take it, for
 * its own threads and the calling one; busy ones then starve everything else, the system included.
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
