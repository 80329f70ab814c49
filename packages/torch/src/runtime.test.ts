import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import * as torch from './index.js';
import { physicalCores } from './runtime.js';

const linux = process.platform === 'linux';
const libtorchLoaded = () => readFileSync('/proc/self/maps', 'utf8').includes('libtorch');
const settings = { ...process.env };

afterEach(() => {
  process.env = { ...settings };
});

// The order matters: each file of tests is a process of its own, and libtorch stays loaded.
describe('libtorch is loaded by the first use', () => {
  it.skipIf(!linux)('neither by importing the package nor by configuring it', () => {
    delete process.env.OMP_NUM_THREADS;
    delete process.env.GOMP_SPINCOUNT;
    torch.configureRuntime();
    expect(process.env.GOMP_SPINCOUNT).toBe('20000');
    expect(libtorchLoaded()).toBe(false);
    torch.ones([1]).dispose();
    expect(libtorchLoaded()).toBe(true);
    expect(torch.getNumThreads()).toBe(physicalCores());
  });

  it('leaves alone what the environment or setNumThreads has decided', () => {
    Object.assign(process.env, { OMP_NUM_THREADS: '1', OMP_WAIT_POLICY: 'active' });
    delete process.env.GOMP_SPINCOUNT;
    torch.setNumThreads(2);
    torch.configureRuntime();
    expect(torch.getNumThreads()).toBe(2);
    expect(process.env.GOMP_SPINCOUNT).toBeUndefined();
  });

  it('says at the first use that the addon is missing or unusable', async () => {
    const fresh = async (addon: string) => {
      process.env.CRAFT_TORCH_ADDON = addon;
      vi.resetModules();
      return import('./index.js');
    };
    const missing = await fresh('/nowhere/torch.node');
    for (let i = 0; i < 2; i++)
      expect(() => missing.ones([1])).toThrow(/^\/nowhere\/torch.node does not exist: run/);
    const unusable = await fresh(import.meta.filename);
    expect(() => unusable.ones([1])).toThrow(/cannot be loaded \(.*\): run `npm run setup`/);
  });
});

describe('physicalCores', () => {
  const root = mkdtempSync(join(tmpdir(), 'craft-cores-'));
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  function system(siblings: readonly string[], allowed: string) {
    siblings.forEach((list, cpu) => {
      mkdirSync(join(root, `cpu${cpu}/topology`), { recursive: true });
      writeFileSync(join(root, `cpu${cpu}/topology/thread_siblings_list`), `${list}\n`);
    });
    mkdirSync(join(root, 'cpufreq'), { recursive: true });
    writeFileSync(join(root, 'status'), `Name:\tnode\nCpus_allowed_list:\t${allowed}\n`);
    return { topology: root, status: join(root, 'status') };
  }

  it('counts hyperthreads of one core once, and only processors that the process may use', () => {
    expect(physicalCores(system(['0-1', '0-1'], '0-1'))).toBe(1);
    expect(physicalCores(system(['0,2', '1,3', '0,2', '1,3'], '0,2'))).toBe(1);
    const cores = physicalCores(system(['0,2', '1,3', '0,2', '1,3'], '0-3'));
    expect(cores).toBe(Math.min(2, availableParallelism()));
  });

  it('falls back to the logical processors', () => {
    expect(physicalCores({ topology: join(root, 'absent'), status: join(root, 'status') })).toBe(
      availableParallelism(),
    );
  });
});
