import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { craftError } from '../../test/craft-error.js';
import { manualSeed, randn, safetensors, type Tensor, tensor, zeros } from '../index.js';
import { copyTensor } from '../safetensors/tensors.js';
import { withoutInit } from './init.js';
import { Linear } from './linear.js';
import { loadCheckpoint } from './load-checkpoint.js';
import { Module } from './module.js';

class Net extends Module {
  readonly first = new Linear(3, 2);
  readonly second = new Linear(2, 2, { bias: false });
  override forward(x: Tensor): Tensor {
    return this.second.call(this.first.call(x));
  }
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'load-checkpoint-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function saved(net: Module, name = 'model.safetensors', pick: (name: string) => string | null = (n) => n) {
  const path = join(folder, name);
  const entries = [...net.stateDict()].flatMap(([key, value]): [string, Tensor][] => {
    const named = pick(key);
    return named === null ? [] : [[named, value]];
  });
  safetensors.saveFile(path, entries);
  return path;
}

const values = (net: Module) => [...net.stateDict()].map(([name, value]) => [name, value.tolist()]);

describe('loadCheckpoint', () => {
  it('fills a module that was made without initialising it', () => {
    const net = new Net();
    const empty = withoutInit(() => new Net());
    using file = safetensors.openCheckpoint(saved(net));
    expect(loadCheckpoint(empty, file)).toEqual({ missing: [], unexpected: [], misshaped: [] });
    expect(values(empty)).toEqual(values(net));
    expect(empty.first.weight.requiresGrad).toBe(true);
  });

  it('reads shards, and converts to the dtype of the module', () => {
    const net = new Net();
    saved(net, 'a.safetensors', (name) => (name.startsWith('first') ? name : null));
    saved(net, 'b.safetensors', (name) => (name.startsWith('second') ? name : null));
    const weightMap = Object.fromEntries(
      [...net.stateDict().keys()].map((name) => [
        name,
        name.startsWith('first') ? 'a.safetensors' : 'b.safetensors',
      ]),
    );
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
    const half = new Net().to({ dtype: 'bfloat16' });
    using file = safetensors.openCheckpoint(folder);
    loadCheckpoint(half, file);
    expect(half.first.weight.dtype).toBe('bfloat16');
    expect(half.second.weight.tolist()).toEqual(net.second.weight.to('bfloat16').tolist());
  });

  it('copies a tensor larger than one part exactly, also into another dtype', () => {
    manualSeed(1);
    const rows = 2 ** 12 + 3;
    const large = randn([rows, 2 ** 11 + 1]);
    const path = join(folder, 'large.safetensors');
    safetensors.saveFile(path, [['w', large]]);
    using file = safetensors.openCheckpoint(path);
    for (const dtype of ['float32', 'bfloat16'] as const) {
      const target = zeros([rows, 2 ** 11 + 1], { dtype });
      copyTensor(file, 'w', target);
      expect(target.eq(large.to(dtype)).all().item()).toBe(1);
    }
    expect(craftError(() => copyTensor(file, 'w', zeros([2]))).code).toBe('SIZE_MISMATCH');
  });

  it('renames; a stand-in fills in only for what the file does not have', () => {
    const net = new Net();
    const rename = (name: string) => (name === 'old' ? ['second.weight', 'first.weight'] : [name]);
    const path = join(folder, 'model.safetensors');
    const old = tensor([
      [1, 2],
      [3, 4],
    ]);
    safetensors.saveFile(path, [
      ['old', old],
      ['first.weight', net.first.weight],
      ['first.bias', net.first.bias!],
    ]);
    const other = new Net();
    using file = safetensors.openCheckpoint(path);
    loadCheckpoint(other, file, { rename });
    expect(other.second.weight.tolist()).toEqual(old.tolist());
    expect(other.first.weight.tolist()).toEqual(net.first.weight.tolist());
  });

  it('names what does not fit and changes nothing; without strict it loads the rest', () => {
    const net = new Net();
    const path = join(folder, 'model.safetensors');
    safetensors.saveFile(path, [
      ['first.weight', zeros([5, 3])],
      ['first.bias', zeros([2])],
      ['extra', zeros([1])],
    ]);
    const before = values(net);
    using file = safetensors.openCheckpoint(path);
    const error = craftError(() => loadCheckpoint(net, file, { hint: () => '; is it another size?' }));
    expect(error.code).toBe('STATE_DICT_MISMATCH');
    expect(error.message).toBe(
      `${path} does not fit the model; is it another size?: 1 missing (second.weight); 1 unexpected (extra); ` +
        '1 misshaped (first.weight ([5,3], expected [2,3]))',
    );
    expect(values(net)).toEqual(before);
    expect(loadCheckpoint(net, file, { strict: false }).missing).toEqual(['second.weight']);
    expect(net.first.bias!.tolist()).toEqual([0, 0]);
  });
});
