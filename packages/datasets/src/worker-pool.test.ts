import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import { StopGate } from './worker-pool.js';

it('waits for who works behind it, for as long as it is told', async () => {
  const gate = new StopGate();
  expect(await gate.run(async () => 7)).toBe(7);
  let finish = () => {};
  const working = gate.run(() => new Promise<void>((resolve) => (finish = resolve)));
  expect(gate.close(20)).toBe(false);
  finish();
  await working;
  expect(gate.close(20)).toBe(true);
});

it('leaves the gate when the work fails', async () => {
  const gate = new StopGate();
  await expect(gate.run(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(gate.close(0)).toBe(true);
});

it('stops a worker between two pieces of work', async () => {
  const gate = new StopGate();
  const pieces = new Int32Array(new SharedArrayBuffer(8));
  // The worker's side of the gate, in plain JavaScript: it counts the calls it starts and finishes.
  const source = `
    const { workerData, parentPort } = require('node:worker_threads');
    const gate = new Int32Array(workerData.gate);
    const pieces = new Int32Array(workerData.pieces);
    for (;;) {
      Atomics.add(gate, 1, 1);
      if (Atomics.load(gate, 0) === 1) {
        Atomics.sub(gate, 1, 1);
        Atomics.notify(gate, 1);
        for (;;) Atomics.wait(gate, 0, 1);
      }
      Atomics.add(pieces, 0, 1);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      Atomics.add(pieces, 1, 1);
      Atomics.sub(gate, 1, 1);
      Atomics.notify(gate, 1);
    }`;
  const worker = new Worker(source, { eval: true, workerData: { gate: gate.memory, pieces: pieces.buffer } });
  while (Atomics.load(pieces, 1) < 3) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(gate.close()).toBe(true);
  expect(Atomics.load(pieces, 0)).toBe(Atomics.load(pieces, 1));
  await worker.terminate();
});
