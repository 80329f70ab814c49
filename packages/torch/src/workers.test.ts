import { setEnvironmentData, Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import * as torch from './index.js';

const script = new URL('../test/worker.mjs', import.meta.url);

type Report = { fitted: number; leaked: number; error: string; threads: number };

/** A worker that has started, and the message it ends with. */
async function start(workerData: { rounds?: number; slope: number; endless?: boolean }) {
  const worker = new Worker(script, { workerData });
  const report = new Promise<Report>((resolve, reject) => {
    worker.on('message', (message: Report | 'started') => message !== 'started' && resolve(message));
    worker.on('error', reject);
    worker.on('exit', () => reject(new Error('the worker ended without a report')));
  });
  report.catch(() => {});
  await new Promise<void>((resolve, reject) => {
    worker.once('message', () => resolve());
    worker.once('error', reject);
  });
  return { worker, report };
}

function train(steps: number): number {
  const w = torch.zeros([1, 1], { requiresGrad: true });
  const x = torch.linspace(-1, 1, 64).unsqueeze(1);
  for (let i = 0; i < steps; i++) {
    torch.scope(() => {
      x.matmul(w).sub(x.mul(-4)).square().mean().backward();
      torch.noGrad(() => w.sub_(w.grad!, { alpha: 0.5 }));
      w.grad = null;
    });
  }
  return w.item();
}

describe('worker threads', () => {
  it('take over the settings of the main thread, also where they load libtorch first', async () => {
    setEnvironmentData('@craft-ft/torch', { threads: 3 } as never);
    const { worker, report } = await start({ rounds: 1, slope: 2 });
    expect((await report).threads).toBe(3);
    await worker.terminate();
    expect(torch.getNumThreads()).toBe(3);
    torch.setNumThreads(1);
  });

  it('two train at once while the main thread does, each with tables of its own', async () => {
    const threads = torch.getNumThreads();
    const workers = await Promise.all([2, 3].map((slope) => start({ rounds: 400, slope })));
    const before = torch.memory().tensors;
    expect(train(400)).toBeCloseTo(-4, 4);
    const reports = await Promise.all(workers.map(({ report }) => report));
    reports.forEach(({ fitted, leaked, error }, i) => {
      expect(fitted).toBeCloseTo([2, 3][i], 4);
      expect([leaked, error]).toEqual([0, 'TORCH_ERROR']);
    });
    expect(torch.memory().tensors - before).toBeLessThanOrEqual(3);
    expect(torch.getNumThreads()).toBe(threads);
    await Promise.all(workers.map(({ worker }) => worker.terminate()));
  });

  it('one that is terminated in the middle harms nobody', async () => {
    for (let i = 0; i < 3; i++) {
      const { worker } = await start({ slope: 1, endless: true });
      await worker.terminate();
    }
    expect(train(100)).toBeCloseTo(-4, 3);
  });
});
