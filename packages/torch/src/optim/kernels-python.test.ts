import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { expectClose } from '../../test/numeric.js';
import * as torch from '../index.js';

const { nn, optim } = torch;

// The library is built for one libtorch version, so Python must have the same one.
const library = optim.kernels().library;
const python = library === null ? null : findPython(dirname(library));
if (python === null) console.log('skipped: no Python here has the libtorch that the kernels were built for');

function findPython(build: string) {
  const { root } = JSON.parse(readFileSync(join(build, 'libtorch.json'), 'utf8')) as { root: string };
  if (!existsSync(join(root, '__init__.py'))) return null;
  const ask = 'import os, torch; print(os.path.realpath(os.path.dirname(torch.__file__)))';
  for (const command of ['/usr/bin/python3', 'python3']) {
    for (const env of [{}, { PYTHONPATH: dirname(root) }]) {
      const asked = spawnSync(command, ['-c', ask], { env: { ...process.env, ...env }, encoding: 'utf8' });
      if (asked.status === 0 && asked.stdout.trim() === realpathSync(root)) return { command, env };
    }
  }
  return null;
}

const PROGRAM = `
import json, sys, torch
torch.ops.load_library(sys.argv[1])
n = 1000
p, m, v = torch.linspace(-1, 1, n), torch.zeros(n), torch.zeros(n)
g_t, g_r = torch.linspace(-2, 1, n), torch.linspace(3, -1, n)
gram = torch.ops.craft.gram(g_t, g_r, [0, 16], [16, n - 16])
numbers = [[0, 16], [16, n - 16], [1.0, 0.5], [2.0, -1.0], 0.5, [0.1, 0.1], [0.01, 0.01], [1, 1], 0.9, 0.999, 1e-8]
torch.ops.craft.sweep(p, g_t, g_r, m, v, *numbers)
print(json.dumps({"gram": gram.tolist(), "p": p.tolist(), "m": m.tolist(), "v": v.tolist()}))
`;

describe.skipIf(python === null)('the library of kernels in Python', () => {
  it('gives the same numbers', () => {
    const run = spawnSync(python!.command, ['-c', PROGRAM, library!], {
      env: { ...process.env, ...python!.env },
      encoding: 'utf8',
    });
    expect(run.stderr).toBe('');
    const found = JSON.parse(run.stdout) as { gram: number[][]; p: number[]; m: number[]; v: number[] };

    const parameters = [16, 984].map((length, i) => {
      const value = torch.linspace(-1, 1, 1000).narrow(0, i * 16, length);
      return [`p${i}`, new nn.Parameter(value.clone())] as const;
    });
    const flat = new optim.FlatParameters([{ parameters }]);
    const adamw = new optim.AdamW(flat, { lr: 0.1, weightDecay: 0.01 });
    const side = (low: number, high: number) => {
      const buffer = torch.zeros([flat.size]);
      buffer.narrow(0, 0, 1000).copy_(torch.linspace(low, high, 1000));
      return { flat: buffer, reached: [true, true] };
    };
    const [first, second] = [side(-2, 1), side(3, -1)];
    const products = optim.gram(first.flat, second.flat, flat.entries);
    expect(found.gram).toEqual(products.map(({ d, T, R }) => [d, T, R]));
    adamw.step({ first, second, a: [1, 0.5], b: [2, -1] }, 1, 0.5);
    for (const [own, other] of [
      [flat.data, found.p],
      [adamw.expAvg, found.m],
      [adamw.expAvgSq, found.v],
    ] as const) {
      expectClose(own.narrow(0, 0, 1000), torch.tensor(other), 0);
    }
  });
});
