import { availableParallelism } from 'node:os';
import { WorkerPool } from '@craft-ft/datasets/worker-pool';
import { CraftError } from '@craft-ft/torch/errors';
import { EnvironmentHost } from './host.js';

/** Threads that run environments. */
export class EnvironmentThreads extends WorkerPool<EnvironmentHost> {
  /** @param count worker threads; 0: everything in the calling thread. Default: one per core */
  constructor(count: number = availableParallelism()) {
    super({
      count,
      entry: new URL('./environment-worker.js', import.meta.url),
      host: () => new EnvironmentHost(),
      died: (reason) =>
        new CraftError('ENV_WORKER', `a thread that runs environments died: ${reason}; try fewer workers`),
      closed: () => new CraftError('ENV_CLOSED', 'the environments are closed'),
    });
  }
}
