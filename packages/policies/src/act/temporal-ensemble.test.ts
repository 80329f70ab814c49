import { readFileSync } from 'node:fs';
import { memory, rand, safetensors } from '@craft-ft/torch';
import { expect, test } from 'vitest';
import { goldenActPath } from '../../test/act-golden.js';
import { TemporalEnsemble } from './policy.js';

interface Case {
  id: string;
  temporal_ensemble_coeff: number;
  chunk_size: number;
  steps: number;
}

const path = goldenActPath('temporal_ensemble')!;
const { cases } = JSON.parse(readFileSync(`${path}/cases.json`, 'utf8')) as { cases: Case[] };
const tensors = safetensors.loadFile(`${path}/tensors.safetensors`);

test.each(cases)('equals LeRobot, $id', ({ id, temporal_ensemble_coeff, chunk_size, steps }) => {
  const ensemble = new TemporalEnsemble(temporal_ensemble_coeff, chunk_size);
  const chunks = tensors.get(`${id}.action_chunks`)!;
  const actions = tensors.get(`${id}.actions`)!;
  // Twice: a reset forgets everything.
  for (let run = 0; run < 2; run++) {
    for (let step = 0; step < steps; step++) {
      const found = ensemble.update(chunks.select(0, step));
      expect(found.sub(actions.select(0, step)).abs().max().item()).toBeLessThan(1e-6);
    }
    ensemble.reset();
  }
});

test('a chunk of one step is the action itself', () => {
  const ensemble = new TemporalEnsemble(0.01, 1);
  for (let step = 0; step < 3; step++) {
    const chunk = rand([2, 1, 3]);
    expect(ensemble.update(chunk).equal(chunk.select(1, 0))).toBe(true);
  }
});

test('memory does not grow with the length of an episode', () => {
  const ensemble = new TemporalEnsemble(0.01, 8);
  const chunk = rand([1, 8, 3]);
  ensemble.update(chunk).dispose();
  ensemble.update(chunk).dispose();
  const before = memory().tensors;
  for (let step = 0; step < 50; step++) ensemble.update(chunk).dispose();
  expect(memory().tensors).toBe(before);
});
